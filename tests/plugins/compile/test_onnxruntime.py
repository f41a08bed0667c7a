from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from modelwright.api.dataset import Record
from modelwright.api.model import Model
from modelwright.api.target import Target
from modelwright.errors import RecipeError, StageError
from modelwright.testing.texts import sentences
from modelwright_plugins.compile import onnxruntime, variants
from modelwright_plugins.compile.onnxruntime import CompileOnnxRuntime
from modelwright_plugins.compile.variants import VARIANTS, Form
from modelwright_plugins.format.onnx import Onnx
from modelwright_plugins.format.onnx_graph import load_graph
from modelwright_plugins.quantize.onnx_static import QuantizeOnnxStatic
from tests.plugins.onnx_outputs import cosines, outputs
from tests.plugins.stage_context import FolderContext

if TYPE_CHECKING:
    import onnx_ir as ir

pytest.importorskip("onnxscript", reason="needs the export extra")
pytest.importorskip("onnxruntime", reason="needs onnxruntime")

DATA = {
    ("docs", "calibration"): [Record(text=text) for text in sentences(16, seed=1)],
    ("docs", "validation"): [Record(text=text) for text in sentences(16, seed=2)],
}


def compiled(model: Model, folder: Path, **parameters: object) -> tuple[Model, FolderContext]:
    ctx = FolderContext(folder, data=DATA, formats={"onnx": Onnx()})
    return ctx.apply(CompileOnnxRuntime.model_validate(parameters), model), ctx


@pytest.mark.parametrize("variant", ["lean", "flat", "standard", "contrib", "extended"])
def test_every_variant_keeps_the_outputs(tiny_onnx: Model, tmp_path: Path, variant: str) -> None:
    model, _ = compiled(tiny_onnx, tmp_path / variant, variant=variant)
    np.testing.assert_allclose(outputs(model), outputs(tiny_onnx), atol=1e-4)
    operators = Onnx().graph_operators(model)
    assert operators.get("Attention", 0) + operators.get("MultiHeadAttention", 0) == 2
    assert "Softmax" not in operators


def test_a_named_variant_gives_the_same_bytes_twice(tiny_onnx: Model, tmp_path: Path) -> None:
    one, other = (compiled(tiny_onnx, tmp_path / name, variant="lean")[0] for name in "ab")
    assert one.digest == other.digest


def test_auto_measures_what_applies_and_keeps_one(tiny_onnx: Model, tmp_path: Path) -> None:
    model, ctx = compiled(tiny_onnx, tmp_path / "auto", variant="auto", data="docs", rounds=3)
    rows = ctx.records["variants"]
    assert {row["variant"] for row in rows} == {"lean", "flat", "standard", "contrib", "extended"}
    assert [row["kept"] for row in rows].count("yes") == 1
    assert all(row["cosine mean"] > 0.9999 and row["ms"] > 0 for row in rows)
    np.testing.assert_allclose(outputs(model), outputs(tiny_onnx), atol=1e-4)


def test_auto_leaves_out_what_does_not_run(
    tiny_onnx: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(graph: ir.Model, *_: object) -> int:
        node = next(node for node in graph.graph if node.op_type == "Gelu")
        node.op_type = "NoSuchOperator"
        return 1

    forms = {"lean": Form(unknown, ("embed",)), "standard": Form(None, ("embed",))}
    monkeypatch.setattr(variants, "VARIANTS", forms)
    monkeypatch.setattr(onnxruntime, "VARIANTS", forms)
    model, ctx = compiled(tiny_onnx, tmp_path / "auto", variant="auto", data="docs", rounds=3)
    assert [row["variant"] for row in ctx.records["variants"]] == ["standard"]
    np.testing.assert_allclose(outputs(model), outputs(tiny_onnx), atol=1e-4)


def test_lengths_are_for_the_provider_that_gains_by_them(tiny_half: Model, tmp_path: Path) -> None:
    cuda = Target(device="cuda", provider="CUDAExecutionProvider")
    without_tiles = cuda.model_copy(update={"provider_options": {"sdpa_kernel": "16"}})
    applied = {}
    for name, target in {"cuda": cuda, "cpu": Target(), "without tiles": without_tiles}.items():
        rewrite = VARIANTS["lengths"].rewrite
        assert rewrite is not None
        applied[name] = rewrite(load_graph(tiny_half.path), target, tiny_half.spec) > 0
    assert applied == {"cuda": True, "cpu": False, "without tiles": False}
    with pytest.raises(StageError, match="'lengths' does not apply") as refused:
        compiled(tiny_half, tmp_path, variant="lengths")
    assert "lengths is for a graph in float16 and CUDAExecutionProvider" in str(refused.value.accepted)


def test_a_statically_quantized_graph_takes_the_same_rewrites(tiny_onnx: Model, tmp_path: Path) -> None:
    ctx = FolderContext(tmp_path / "int8", data=DATA)
    quantized = ctx.apply(QuantizeOnnxStatic(data="docs"), tiny_onnx)
    model, _ = compiled(quantized, tmp_path / "lean", variant="lean")
    operators = Onnx().graph_operators(model)
    assert "Transpose" not in operators
    assert operators["Sum"] == 5
    assert operators["QuantizeLinear"] == Onnx().graph_operators(quantized)["QuantizeLinear"]
    assert cosines(quantized, model).min() > 0.999


def test_a_classifier_compiles_too(tiny_classifier_onnx: Model, tmp_path: Path) -> None:
    model, _ = compiled(tiny_classifier_onnx, tmp_path / "lean", variant="lean")
    np.testing.assert_allclose(outputs(model), outputs(tiny_classifier_onnx), atol=1e-4)


def test_auto_without_data_is_refused_in_the_plan(tiny_onnx: Model) -> None:
    with pytest.raises(RecipeError, match="variant auto checks parity"):
        CompileOnnxRuntime(variant="auto").check(tiny_onnx.spec)
