from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from modelwright.api.dataset import Record
from modelwright.api.model import Model
from modelwright.errors import RecipeError
from modelwright.testing.texts import sentences
from modelwright_plugins.format.onnx import Onnx
from modelwright_plugins.quantize.onnx_dynamic import QuantizeOnnxDynamic
from tests.plugins.onnx_outputs import cosines
from tests.plugins.stage_context import FolderContext

pytest.importorskip("onnxruntime", reason="needs onnxruntime")

DATA = {("docs", "calibration"): [Record(text=text) for text in sentences(24, seed=1)]}


@pytest.fixture(scope="module")
def quantized(tiny_onnx: Model, tmp_path_factory: pytest.TempPathFactory) -> Model:
    return FolderContext(tmp_path_factory.mktemp("dynamic")).apply(QuantizeOnnxDynamic(), tiny_onnx)


def test_weights_shrink_and_embeddings_stay(tiny_onnx: Model, quantized: Model) -> None:
    small, large = (Onnx().size(m.path).weight_bytes for m in (quantized, tiny_onnx))
    assert small < 0.4 * large
    assert quantized.spec.tags == ("dynamic-int8", "int8")
    assert quantized.spec.dtype == "int8"
    assert 0.99 < cosines(tiny_onnx, quantized).min() < 0.999999


def test_layers_run_in_int8_and_attention_stays(quantized: Model) -> None:
    operators = Onnx().graph_operators(quantized)
    assert operators["MatMulInteger"] == 12
    assert "MatMul" not in operators
    assert operators["Attention"] == 2


def test_the_same_input_gives_the_same_bytes(tiny_onnx: Model, quantized: Model, tmp_path: Path) -> None:
    again = FolderContext(tmp_path / "again").apply(QuantizeOnnxDynamic(), tiny_onnx)
    assert again.digest == quantized.digest


def test_one_scale_per_channel_is_closer_than_one_per_tensor(
    tiny_onnx: Model, quantized: Model, tmp_path: Path
) -> None:
    coarse = FolderContext(tmp_path / "tensor").apply(QuantizeOnnxDynamic(per_channel=False), tiny_onnx)
    assert cosines(tiny_onnx, coarse).mean() < cosines(tiny_onnx, quantized).mean()


def test_smoothing_with_data_is_recorded_and_stays_close(tiny_onnx: Model, tmp_path: Path) -> None:
    ctx = FolderContext(tmp_path / "smooth", data=DATA)
    smoothed = ctx.apply(QuantizeOnnxDynamic(data="docs", samples=24), tiny_onnx)
    assert ctx.records["passes"]["inputs smoothed"] == 8
    assert cosines(tiny_onnx, smoothed).min() > 0.99


def test_excluded_nodes_stay_in_float(tiny_onnx: Model, quantized: Model, tmp_path: Path) -> None:
    stage = QuantizeOnnxDynamic(exclude=("node_MatMul_*", "node_embedding"))
    kept = FolderContext(tmp_path / "exclude").apply(stage, tiny_onnx)
    assert Onnx().graph_operators(kept)["MatMul"] == 12
    assert Onnx().size(kept.path).weight_bytes > 2 * Onnx().size(quantized.path).weight_bytes


def test_only_embeddings(tiny_onnx: Model, tmp_path: Path) -> None:
    small = FolderContext(tmp_path / "gather").apply(QuantizeOnnxDynamic(operators=("Gather",)), tiny_onnx)
    assert Onnx().graph_operators(small)["MatMul"] == 12
    assert Onnx().size(small.path).weight_bytes < 0.85 * Onnx().size(tiny_onnx.path).weight_bytes
    assert cosines(tiny_onnx, small).min() > 0.9995


def test_a_pattern_that_matches_nothing_is_refused(tiny_onnx: Model, tmp_path: Path) -> None:
    stage = QuantizeOnnxDynamic(exclude=("node_embeding",))
    with pytest.raises(RecipeError, match="The pattern 'node_embeding' matches no node") as caught:
        FolderContext(tmp_path / "typo").apply(stage, tiny_onnx)
    assert str(caught.value.hint).startswith("did you mean 'node_embedding")


def test_no_text_is_refused(tiny_onnx: Model, tmp_path: Path) -> None:
    ctx = FolderContext(tmp_path / "none", data={("docs", "calibration"): [Record(label="x")]})
    with pytest.raises(RecipeError, match="The calibration split of 'docs' has no text"):
        ctx.apply(QuantizeOnnxDynamic(data="docs"), tiny_onnx)


def test_a_classifier_keeps_its_decisions(tiny_classifier_onnx: Model, tmp_path: Path) -> None:
    quantized = FolderContext(tmp_path / "classifier").apply(QuantizeOnnxDynamic(), tiny_classifier_onnx)
    assert cosines(tiny_classifier_onnx, quantized).mean() > 0.99
    assert np.isfinite(cosines(tiny_classifier_onnx, quantized)).all()
