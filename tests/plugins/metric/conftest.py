from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from modelwright.api.model import Model
from modelwright.api.target import Target
from modelwright_plugins.format.torch_causal_runner import TorchCausalRunner
from tests.plugins.metric.causal_models import opened, with_noise


@pytest.fixture(scope="session")
def causal(tiny_model: Callable[..., Path]) -> Model:
    return opened(tiny_model("generate"))


@pytest.fixture(scope="session")
def damaged(causal: Model, tmp_path_factory: pytest.TempPathFactory) -> Model:
    return opened(with_noise(causal.path, tmp_path_factory.mktemp("damaged") / "model", 0.3))


@pytest.fixture(scope="session")
def causal_runner(causal: Model) -> TorchCausalRunner:
    pytest.importorskip("torch", reason="needs the cpu extra")
    return TorchCausalRunner(causal, Target(threads=1))


@pytest.fixture(scope="session")
def damaged_runner(damaged: Model) -> TorchCausalRunner:
    pytest.importorskip("torch", reason="needs the cpu extra")
    return TorchCausalRunner(damaged, Target(threads=1))
