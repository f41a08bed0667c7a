from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from modelwright.api.dataset import Record, Split
from modelwright.api.model import Model
from modelwright.errors import RecipeError, StageError
from modelwright.testing.texts import sentences
from modelwright_plugins.format.onnx import Onnx
from modelwright_plugins.quantize.onnx_static import QuantizeOnnxStatic
from tests.plugins.onnx_outputs import TEXTS, cosines, outputs
from tests.plugins.stage_context import FolderContext

pytest.importorskip("onnxruntime", reason="needs onnxruntime")

SPLITS: tuple[Split, Split] = ("calibration", "validation")
DATA = {
    ("docs", split): [Record(text=text) for text in sentences(24, seed)]
    for seed, split in enumerate(SPLITS, start=1)
}


def quantize(model: Model, folder: Path, **parameters: object) -> tuple[Model, FolderContext]:
    ctx = FolderContext(folder, data=DATA)
    stage = QuantizeOnnxStatic.model_validate({"data": "docs", "samples": 24} | parameters)
    return ctx.apply(stage, model), ctx


@pytest.fixture(scope="module")
def quantized(tiny_onnx: Model, tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, FolderContext]:
    return quantize(tiny_onnx, tmp_path_factory.mktemp("static"))


def test_weights_shrink_and_embeddings_stay(tiny_onnx: Model, quantized: tuple[Model, FolderContext]) -> None:
    small, large = (Onnx().size(m.path).weight_bytes for m in (quantized[0], tiny_onnx))
    assert small < 0.4 * large
    assert quantized[0].spec.tags == ("int8", "int8-embeddings", "uint8")
    assert 0.99 < cosines(tiny_onnx, quantized[0]).min() < 0.999999


def test_a_graph_in_half_precision_is_smoothed_and_its_tables_shrink(
    tiny_half: Model, tmp_path: Path
) -> None:
    import onnx

    result, ctx = quantize(tiny_half, tmp_path, activation="int8")
    graph = onnx.load(result.path / "model.onnx").graph
    types = {item.name: item.data_type for item in graph.initializer}
    assert sum(name.endswith("_smooth_weight_quantized") for name in types) == 12
    assert types["embeddings.word_embeddings.weight_int8"] == onnx.TensorProto.INT8
    assert types["embeddings.word_embeddings.weight_scale"] == onnx.TensorProto.FLOAT16
    assert result.spec.tags == ("int8", "int8-embeddings")
    assert ctx.records["quantization"]["cosine_all_int8"] > 0.99


def test_a_channel_that_is_never_used_is_no_infinity_in_half_precision(
    tiny_half: Model, tmp_path: Path
) -> None:
    import onnx
    from onnx import numpy_helper

    shutil.copytree(tiny_half.path, tmp_path / "dead")
    file = tmp_path / "dead" / "model.onnx"
    file.chmod(0o644)
    graph = onnx.load(file)
    scale, shift = (
        next(item for item in graph.graph.initializer if item.name == f"embeddings.LayerNorm.{part}")
        for part in ("weight", "bias")
    )
    for item, others in ((scale, 60.0), (shift, 0.0)):
        values = np.full(item.dims, others, np.float16)
        values[0] = 0
        item.CopyFrom(numpy_helper.from_array(values, item.name))
    onnx.save(graph, file)
    dead = Model(tmp_path / "dead", tiny_half.spec, "dead")
    result, _ = quantize(dead, tmp_path, activation="int8")
    for item in onnx.load(result.path / "model.onnx").graph.initializer:
        assert np.isfinite(numpy_helper.to_array(item).astype(np.float32)).all(), item.name
    assert np.isfinite(outputs(result, TEXTS)).all()


@pytest.mark.parametrize("fields", [{"exclude": ["*"]}, {"operators": ["Gemm"]}])
def test_a_graph_of_which_nothing_is_quantized_is_not_called_int8(
    fields: dict[str, object], tiny_onnx: Model, tmp_path: Path
) -> None:
    with pytest.raises(StageError, match="No layer of the graph is left to quantize") as refused:
        quantize(tiny_onnx, tmp_path, **fields)
    assert refused.value.where == f"stages.trial.{next(iter(fields))}"
    assert not (tmp_path / "out" / "model.onnx").exists()


def test_what_onnx_runtime_does_not_compute_in_is_refused(tiny_half: Model) -> None:
    spec = tiny_half.spec.model_copy(update={"dtype": "bfloat16"})
    with pytest.raises(RecipeError, match="does not compute in bfloat16 on the CPU"):
        QuantizeOnnxStatic(data="docs").check(spec)


def test_finer_methods_than_half_precision_are_refused(tiny_half: Model) -> None:
    for method in ("entropy", "percentile"):
        with pytest.raises(RecipeError, match="counts values in bins finer than float16 tells apart"):
            QuantizeOnnxStatic(data="docs", method=method).check(tiny_half.spec)
    QuantizeOnnxStatic(data="docs").check(tiny_half.spec)


def test_onnx_runtime_runs_every_layer_as_one_int8_operator(
    quantized: tuple[Model, FolderContext], tmp_path: Path
) -> None:
    import onnx
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3
    ort.InferenceSession(str(quantized[0].path / "model.onnx"), options, providers=["CPUExecutionProvider"])
    types = [node.op_type for node in onnx.load(str(tmp_path / "optimized.onnx")).graph.node]
    assert types.count("MatMulIntegerToFloat") == 12
    assert types.count("Attention") == 2
    assert "MatMul" not in types


def test_a_text_embeds_alone_as_in_a_padded_batch(quantized: tuple[Model, FolderContext]) -> None:
    pair = outputs(quantized[0], ["a file", TEXTS[-1]], batch_size=2)
    np.testing.assert_allclose(pair[:1], outputs(quantized[0], ["a file"]), atol=1e-5)


def test_the_same_input_gives_the_same_bytes(
    tiny_onnx: Model, quantized: tuple[Model, FolderContext], tmp_path: Path
) -> None:
    assert quantize(tiny_onnx, tmp_path / "again")[0].digest == quantized[0].digest


def test_every_layer_has_its_sensitivity(quantized: tuple[Model, FolderContext]) -> None:
    rows = quantized[1].records["sensitivity"]
    layers = {row["layer"] for row in rows}
    assert len(rows) == 12
    assert {"encoder.layer.0.attention.self.query", "encoder.layer.1.output.dense"} <= layers
    similar = [row["cosine"] for row in rows]
    assert similar == sorted(similar)
    # Each layer alone costs less than all of them together.
    assert quantized[1].records["quantization"]["cosine_all_int8"] < similar[0] < 1


def test_the_worst_layers_can_stay_in_float(
    tiny_onnx: Model, quantized: tuple[Model, FolderContext], tmp_path: Path
) -> None:
    kept, ctx = quantize(tiny_onnx, tmp_path / "worst", exclude_worst=6)
    worst = [row["node"] for row in ctx.records["sensitivity"][:6]]
    assert ctx.records["quantization"]["left_in_float"] == worst
    assert Onnx().graph_operators(kept)["DequantizeLinear"] < 20
    assert Onnx().size(kept.path).weight_bytes > Onnx().size(quantized[0].path).weight_bytes
    assert cosines(tiny_onnx, kept).mean() > cosines(tiny_onnx, quantized[0]).mean()


def test_an_accepted_drop_leaves_as_few_layers_in_float_as_it_takes(
    tiny_onnx: Model, quantized: tuple[Model, FolderContext], tmp_path: Path
) -> None:
    loss = 1 - quantized[1].records["quantization"]["cosine_all_int8"]
    kept, ctx = quantize(tiny_onnx, tmp_path / "drop", max_drop=loss / 2)
    decided = ctx.records["quantization"]
    assert 1 - decided["cosine"] <= loss / 2
    assert 0 < len(decided["left_in_float"]) < 12
    assert cosines(tiny_onnx, kept).mean() > cosines(tiny_onnx, quantized[0]).mean()


@pytest.mark.parametrize("method", ["entropy", "percentile"])
def test_other_ways_to_choose_ranges(tiny_onnx: Model, tmp_path: Path, method: str) -> None:
    model, _ = quantize(tiny_onnx, tmp_path / method, method=method)
    assert cosines(tiny_onnx, model).mean() > 0.97


def test_signed_activations_are_symmetric(tiny_onnx: Model, tmp_path: Path) -> None:
    import onnx
    from onnx import numpy_helper

    model, _ = quantize(tiny_onnx, tmp_path / "int8", activation="int8")
    graph = onnx.load(str(model.path / "model.onnx")).graph
    points = {t.name: numpy_helper.to_array(t) for t in graph.initializer if "zero_point" in t.name}
    assert {str(point.dtype) for point in points.values()} == {"int8"}
    assert not any(point.any() for point in points.values())
    assert cosines(tiny_onnx, model).mean() > 0.99


def test_excluded_nodes_stay_in_float(tiny_onnx: Model, tmp_path: Path) -> None:
    kept, ctx = quantize(tiny_onnx, tmp_path / "exclude", exclude=("node_MatMul_*",))
    assert "QuantizeLinear" not in Onnx().graph_operators(kept)
    assert "sensitivity" not in ctx.records
    assert cosines(tiny_onnx, kept).min() > 0.9995


def test_a_pattern_that_matches_nothing_is_refused(tiny_onnx: Model, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"The pattern '\*/pooler/\*' matches no node"):
        quantize(tiny_onnx, tmp_path / "typo", exclude=("*/pooler/*",))


def test_attention_is_no_operator_to_quantize() -> None:
    with pytest.raises(ValidationError, match="'MatMul', 'Gemm' or 'Gather'"):
        QuantizeOnnxStatic.model_validate({"data": "docs", "operators": ["Attention"]})


def test_a_classifier_keeps_its_decisions(tiny_classifier_onnx: Model, tmp_path: Path) -> None:
    model, ctx = quantize(tiny_classifier_onnx, tmp_path / "classifier")
    assert "classifier" in {row["layer"] for row in ctx.records["sensitivity"]}
    assert cosines(tiny_classifier_onnx, model).mean() > 0.99


@pytest.mark.parametrize(
    ("parameters", "measures"), [({}, False), ({"max_drop": 0.01}, True), ({"exclude_worst": 1}, True)]
)
def test_layers_left_in_float_by_measuring_make_the_result_depend_on_the_machine(
    parameters: dict[str, object], measures: bool
) -> None:
    stage = QuantizeOnnxStatic.model_validate({"data": "docs"} | parameters)
    assert stage.depends_on_machine() == measures
