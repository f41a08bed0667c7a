"""What the tag `sparse` says is true after each step that keeps it, and taken off by those that do not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from modelwright.api.stage import Stage
from modelwright.registry import Registry
from modelwright_plugins.weight_only.gptq import gptq
from modelwright_plugins.weight_only.hqq import half_quadratic
from modelwright_plugins.weight_only.k_quant import k_quant
from modelwright_plugins.weight_only.rtn import round_to_nearest

TAGS = ("sparse", "sparse-2:4")


@pytest.fixture(scope="module")
def weight() -> np.ndarray:
    """Every other weight is zero, [inputs, outputs]."""
    found = np.random.default_rng(0).standard_normal((128, 48)).astype(np.float32)
    found[::2] = 0
    return found


@pytest.mark.parametrize("method", [round_to_nearest, half_quadratic, k_quant])
@pytest.mark.parametrize("symmetric", [True, False])
def test_zeros_are_on_the_grids_of_blocks(method: Any, symmetric: bool, weight: np.ndarray) -> None:
    values = method(weight, 4, 32, symmetric=symmetric).dequantize().T
    assert (values[weight == 0] == 0).all()


def test_gptq_moves_zeros(weight: np.ndarray) -> None:
    rows = np.random.default_rng(1).standard_normal((400, 128)) @ np.random.default_rng(2).standard_normal(
        (128, 128)
    )
    values = gptq(weight, rows.T @ rows, 8, 32, symmetric=True).dequantize().T
    assert (values[weight == 0] == 0).mean() < 0.96


@pytest.mark.parametrize("kind", ["Q8_0", "Q5_0", "Q4_0"])
def test_zeros_are_on_the_grids_of_gguf_without_offset(kind: str, weight: np.ndarray) -> None:
    gguf = pytest.importorskip("gguf", reason="needs the gguf library")
    found = getattr(gguf.GGMLQuantizationType, kind)
    rows = np.ascontiguousarray(weight.T)
    values = gguf.quants.dequantize(gguf.quants.quantize(rows, found), found)
    assert (values[rows == 0] == 0).all()


@pytest.mark.parametrize(
    ("name", "fields", "kept"),
    [
        ("quantize.onnx_weight_only", {"method": "k_quant"}, True),
        ("quantize.onnx_weight_only", {"method": "gptq", "data": "docs"}, False),
        ("quantize.nncf_weight_only", {}, True),
        ("quantize.nncf_weight_only", {"gptq": True, "data": "docs"}, False),
        ("export.gguf", {"type": "Q4_0"}, True),
        ("export.gguf", {"type": "Q4_1"}, False),
        ("export.gguf", {"type": "Q4_K_M"}, False),
        ("export.onnx", {}, True),
        ("quantize.onnx_dynamic", {}, True),
        ("quantize.gptq", {"data": "docs"}, True),
        ("cast.dtype", {"dtype": "bf16"}, True),
    ],
)
def test_a_stage_keeps_the_tags_or_takes_them_off(name: str, fields: dict[str, Any], kept: bool) -> None:
    stage: Stage = Registry.load().stages[name].model_validate(fields)
    found = {*stage.tags_after(TAGS)} & {*TAGS}
    assert found == ({*TAGS} if kept else set())
