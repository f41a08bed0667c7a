from __future__ import annotations

import pytest

from modelwright.api.model import Model
from modelwright.digest import digest_folder
from modelwright.testing.tiny_causal import write_tiny_causal
from modelwright_plugins.cast.dtype import CastDtype
from modelwright_plugins.export.onnx import ExportOnnx
from modelwright_plugins.format.torch import Torch
from tests.plugins.stage_context import FolderContext
from tests.plugins.tiny_bert import save_tiny_bert


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return save_tiny_bert(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="session")
def tiny_onnx(tiny_checkpoint: Model, tmp_path_factory: pytest.TempPathFactory) -> Model:
    pytest.importorskip("onnxscript", reason="needs the export extra")
    return FolderContext(tmp_path_factory.mktemp("onnx")).apply(ExportOnnx(), tiny_checkpoint)


@pytest.fixture(scope="session")
def tiny_half(tiny_checkpoint: Model, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The same graph in float16."""
    pytest.importorskip("onnxscript", reason="needs the export extra")
    folder = tmp_path_factory.mktemp("half")
    half = FolderContext(folder / "half").apply(CastDtype(dtype="fp16"), tiny_checkpoint)
    return FolderContext(folder / "onnx").apply(ExportOnnx(), half)


@pytest.fixture(scope="session")
def tiny_classifier(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return save_tiny_bert(tmp_path_factory.mktemp("classifier"), "classify")


@pytest.fixture(scope="session")
def tiny_classifier_onnx(tiny_classifier: Model, tmp_path_factory: pytest.TempPathFactory) -> Model:
    pytest.importorskip("onnxscript", reason="needs the export extra")
    return FolderContext(tmp_path_factory.mktemp("classifier_onnx")).apply(ExportOnnx(), tiny_classifier)


@pytest.fixture(scope="session")
def tiny_causal(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = write_tiny_causal(tmp_path_factory.mktemp("causal"))
    return Model(folder, Torch().describe(folder), digest_folder(folder))
