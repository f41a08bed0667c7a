from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from modelwright.api.dataset import Record
from modelwright.api.model import Model
from modelwright.testing.texts import sentences
from modelwright_plugins.format.onnx_graph import load_graph
from modelwright_plugins.quantize.onnx_dynamic import QuantizeOnnxDynamic
from modelwright_plugins.quantize.onnx_static import QuantizeOnnxStatic
from modelwright_plugins.quantize.saturation import safe_limits
from tests.plugins.onnx_outputs import cosines
from tests.plugins.stage_context import FolderContext

pytest.importorskip("onnxruntime", reason="needs onnxruntime")

# What two products of uint8 and int8 may sum up to, in units of the largest uint8.
BEARABLE = (2**15 - 1) // 255
DATA = {
    ("docs", split): [Record(text=text) for text in sentences(8)] for split in ("calibration", "validation")
}
STAGES = {"dynamic": QuantizeOnnxDynamic, "static": QuantizeOnnxStatic}


def neighbours(weight: np.ndarray) -> int:
    """The largest sum of two neighbouring rows of one sign."""
    rows = weight.astype(int)
    if len(rows) % 2:
        rows = np.vstack([rows, np.zeros_like(rows[:1])])
    pairs = rows.reshape(-1, 2, rows.shape[1])
    return int(max(np.maximum(sign * pairs, 0).sum(axis=1).max() for sign in (1, -1)))


def weights(model: Model) -> Iterator[np.ndarray]:
    """The int8 weights of all layers, shape [k, n]."""
    for node in load_graph(model.path).graph:
        if node.op_type == "MatMulInteger":
            yield node.inputs[1].const_value.numpy()
            continue
        source = node.inputs[1].producer() if node.op_type in ("MatMul", "Gemm") else None
        if source is not None and source.op_type == "DequantizeLinear":
            weight = source.inputs[0].const_value.numpy()
            yield weight.T if node.attributes.get_int("transB", 0) else weight


def quantize(stage: str, model: Model, folder: Path, **parameters: object) -> list[np.ndarray]:
    made = STAGES[stage].model_validate({"data": "docs", "samples": 8} | parameters)
    return list(weights(FolderContext(folder, data=DATA).apply(made, model)))


@pytest.mark.parametrize("rows", [1, 2, 7, 64])
@pytest.mark.parametrize("seed", range(5))
def test_neighbours_within_the_limits_stay_bearable_after_rounding(rows: int, seed: int) -> None:
    weight = np.random.default_rng(seed).standard_t(2, (rows, 300)).astype(np.float32)
    limits = safe_limits(weight)
    rounded = np.round(weight / (limits / np.float32(127)))
    assert np.abs(rounded).max() <= 127
    assert neighbours(rounded) <= BEARABLE
    assert neighbours(rounded) >= 127  # and no column is coarser than it has to be


def test_only_neighbours_of_one_sign_widen_a_range() -> None:
    weight = np.array([[3, 3, 3, 0], [-2, 2, 0, 0], [0, 0, 2, 0]], np.float32)
    assert safe_limits(weight).tolist() == [3, 5, 3, 0]


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("per_channel", [True, False])
def test_sums_of_products_cannot_saturate(
    stage: str, per_channel: bool, tiny_onnx: Model, tiny_classifier_onnx: Model, tmp_path: Path
) -> None:
    for number, model in enumerate((tiny_onnx, tiny_classifier_onnx)):
        found = quantize(stage, model, tmp_path / str(number), per_channel=per_channel)
        assert len(found) >= 12
        assert max(map(neighbours, found)) <= BEARABLE
        # Seven bits would do it as well, and end at 64.
        assert np.mean([np.abs(weight.astype(int)).max() for weight in found]) > 90


@pytest.mark.parametrize("per_channel", [True, False])
def test_a_layer_with_a_transposed_weight_is_quantized_without_others_before(
    per_channel: bool, tiny_classifier_onnx: Model, tmp_path: Path
) -> None:
    graph = load_graph(tiny_classifier_onnx.path).graph
    names = [str(node.name) for node in graph if node.op_type in ("MatMul", "Gemm")]
    stage = QuantizeOnnxDynamic(per_channel=per_channel, exclude=tuple(names[:-1]))
    quantized = FolderContext(tmp_path).apply(stage, tiny_classifier_onnx)
    found = list(weights(quantized))
    assert [weight.shape for weight in found] == [(32, 2)]
    assert max(map(neighbours, found)) <= BEARABLE
    assert cosines(tiny_classifier_onnx, quantized).min() > 0.99


def test_an_excluded_layer_with_a_transposed_weight_stays_in_float(
    tiny_classifier_onnx: Model, tmp_path: Path
) -> None:
    gemms = [node for node in load_graph(tiny_classifier_onnx.path).graph if node.op_type == "Gemm"]
    assert gemms
    stage = QuantizeOnnxDynamic(exclude=tuple(str(node.name) for node in gemms))
    excluded = FolderContext(tmp_path / "excluded").apply(stage, tiny_classifier_onnx)
    every = FolderContext(tmp_path / "every").apply(QuantizeOnnxDynamic(), tiny_classifier_onnx)
    assert len(list(weights(excluded))) == len(list(weights(every))) - len(gemms)


@pytest.mark.parametrize("stage", STAGES)
def test_a_range_that_is_given_is_taken(stage: str, tiny_onnx: Model, tmp_path: Path) -> None:
    full = quantize(stage, tiny_onnx, tmp_path / "8", reduce_range=False)
    assert max(map(neighbours, full)) > BEARABLE
    reduced = quantize(stage, tiny_onnx, tmp_path / "7", reduce_range=True)
    assert max(np.abs(weight.astype(int)).max() for weight in reduced) <= 64


@pytest.mark.parametrize("stage", STAGES)
def test_the_result_is_that_of_any_machine(stage: str) -> None:
    assert not STAGES[stage].model_validate({"data": "docs"}).depends_on_machine()
