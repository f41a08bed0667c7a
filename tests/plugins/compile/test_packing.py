from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from modelwright.api.dataset import Record
from modelwright.api.model import Model
from modelwright.errors import RecipeError
from modelwright.testing.texts import sentences
from modelwright_plugins.compile.onnxruntime import CompileOnnxRuntime
from modelwright_plugins.export.onnx import ExportOnnx
from modelwright_plugins.format.onnx import Onnx
from modelwright_plugins.quantize.onnx_weight_only import QuantizeOnnxWeightOnly
from tests.plugins.quantize.causal_graph import logits
from tests.plugins.stage_context import FolderContext

pytest.importorskip("onnxscript", reason="needs the export extra")
pytest.importorskip("onnxruntime", reason="needs onnxruntime")

DATA = {("docs", "validation"): [Record(text=text) for text in sentences(16, seed=2)]}
LAYERS = 2


@pytest.fixture(scope="module")
def exported(tiny_causal: Model, tmp_path_factory: pytest.TempPathFactory) -> Model:
    return FolderContext(tmp_path_factory.mktemp("causal_onnx")).apply(ExportOnnx(), tiny_causal)


def compiled(model: Model, folder: Path, **parameters: object) -> tuple[Model, FolderContext]:
    ctx = FolderContext(folder, data=DATA, formats={"onnx": Onnx()})
    return ctx.apply(CompileOnnxRuntime.model_validate(parameters), model), ctx


@pytest.mark.parametrize("symmetric", [True, False])
def test_blocks_of_query_key_and_value_are_one_product(
    exported: Model, tmp_path: Path, symmetric: bool
) -> None:
    stage = QuantizeOnnxWeightOnly(method="rtn", symmetric=symmetric, embeddings=True)
    quantized = FolderContext(tmp_path / "int4").apply(stage, exported)
    packed, _ = compiled(quantized, tmp_path / "packed", variant="packed")
    # q, k, v and gate, up become two of the seven products of a layer; the head stays one.
    assert Onnx().graph_operators(quantized)["MatMulNBits"] == 7 * LAYERS + 1
    assert Onnx().graph_operators(packed)["MatMulNBits"] == 4 * LAYERS + 1
    assert Onnx().graph_operators(packed)["GroupQueryAttention"] == LAYERS
    np.testing.assert_allclose(logits(packed), logits(quantized), atol=1e-4)
    assert packed.spec.tags == quantized.spec.tags


def test_float_products_are_joined_too(exported: Model, tmp_path: Path) -> None:
    packed, _ = compiled(exported, tmp_path, variant="packed")
    assert Onnx().graph_operators(packed)["MatMul"] < Onnx().graph_operators(exported)["MatMul"]
    np.testing.assert_allclose(logits(packed), logits(exported), atol=1e-4)


def test_layers_of_other_bits_stay_apart(exported: Model, tmp_path: Path) -> None:
    stage = QuantizeOnnxWeightOnly(method="rtn", embeddings=True, layer_bits={"*v_proj*": 8, "*up_proj*": 8})
    quantized = FolderContext(tmp_path / "mixed").apply(stage, exported)
    packed, _ = compiled(quantized, tmp_path / "packed", variant="packed")
    assert Onnx().graph_operators(packed)["MatMulNBits"] == 6 * LAYERS + 1
    np.testing.assert_allclose(logits(packed), logits(quantized), atol=1e-4)


def test_the_same_input_gives_the_same_bytes(exported: Model, tmp_path: Path) -> None:
    one, other = (compiled(exported, tmp_path / name, variant="packed")[0] for name in "ab")
    assert one.digest == other.digest


def test_auto_measures_decoding(exported: Model, tmp_path: Path) -> None:
    model, ctx = compiled(exported, tmp_path / "auto", variant="auto", data="docs", rounds=3)
    rows = ctx.records["variants"]
    assert [row["variant"] for row in rows] == ["fused", "packed", "standard"]
    assert [row["kept"] for row in rows].count("yes") == 1
    assert all(row["tokens/s"] > 0 for row in rows)
    np.testing.assert_allclose(logits(model), logits(exported), atol=1e-4)


@pytest.mark.parametrize("variant", ["lean", "extended"])
def test_a_variant_for_encoders_is_refused_in_the_plan(tiny_causal: Model, variant: str) -> None:
    with pytest.raises(RecipeError, match=f"'{variant}' is not for models whose task is generate") as caught:
        CompileOnnxRuntime.model_validate({"variant": variant}).check(tiny_causal.spec)
    assert caught.value.accepted == "auto, fused, packed, standard"
