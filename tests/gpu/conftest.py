"""Everything here runs on an NVIDIA GPU, and is skipped with one reason where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from modelwright.api.model import Model
from modelwright.planning.gpu import gpus
from modelwright.planning.source import local_folder
from tests.plugins.tiny_bert import save_tiny_bert
from tests.plugins.tiny_llama import open_checkpoint, save_tiny_llama


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    missing = _missing()
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.gpu)
            if missing:
                item.add_marker(pytest.mark.skip(reason=missing))


def _missing() -> str | None:
    if not gpus():
        return "needs an NVIDIA GPU"
    try:
        import torch
    except ImportError:
        return "needs torch"
    return None if torch.cuda.is_available() else "needs a CUDA build of torch"


@pytest.fixture(autouse=True)
def _fresh_accelerate() -> Iterator[None]:
    """Accelerate keeps a process's device and precision for good: every step has a process of its own."""
    from accelerate.state import AcceleratorState

    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(scope="session")
def reference_lm() -> Model:
    folder = local_folder("pkg://modelwright_conf/reference_lm", "model.path")
    assert folder is not None
    return open_checkpoint(folder)


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return save_tiny_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return save_tiny_bert(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="session")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return save_tiny_bert(tmp_path_factory.mktemp("classifier"), "classify")
