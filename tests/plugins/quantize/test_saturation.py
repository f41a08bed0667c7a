from __future__ import annotations

import platform
from pathlib import Path

import numpy as np
import pytest

from modelwright.api.model import Model
from modelwright.api.target import Target
from modelwright_plugins.format.onnx_graph import load_graph
from modelwright_plugins.quantize import saturation
from modelwright_plugins.quantize.onnx_dynamic import QuantizeOnnxDynamic
from modelwright_plugins.quantize.onnx_static import QuantizeOnnxStatic
from modelwright_plugins.quantize.saturation import saturates
from tests.plugins.stage_context import FolderContext

X86 = platform.machine() == "x86_64"


@pytest.mark.skipif(not X86, reason="other processors have no such kernels")
@pytest.mark.parametrize(
    ("instructions", "expected"),
    [
        ({"avx2"}, True),
        ({"avx2", "avx512f"}, True),
        ({"avx2", "avx512f", "avx512_vnni"}, False),
        ({"avx2", "avx_vnni"}, False),
    ],
)
def test_products_saturate_on_x86_below_vnni(instructions: set[str], expected: bool) -> None:
    assert saturates(Target(), instructions) is expected


def test_a_gpu_does_not_saturate() -> None:
    assert not saturates(Target(device="cuda"), {"avx2"})


@pytest.mark.parametrize("stage", [QuantizeOnnxDynamic, QuantizeOnnxStatic])
def test_a_range_that_the_processor_decides_is_kept_for_this_machine_alone(
    stage: type[QuantizeOnnxDynamic] | type[QuantizeOnnxStatic],
) -> None:
    for given, depends in ((None, True), (True, False), (False, False)):
        assert stage.model_validate({"data": "docs", "reduce_range": given}).depends_on_machine() is depends


@pytest.mark.skipif(not X86, reason="other processors have no such kernels")
@pytest.mark.parametrize(("instructions", "largest"), [({"avx2"}, 64), ({"avx2", "avx512_vnni"}, 127)])
def test_weights_get_the_bits_that_the_processor_bears(
    instructions: set[str], largest: int, tiny_onnx: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saturation, "cpu_instructions", lambda: frozenset(instructions))
    quantized = FolderContext(tmp_path).apply(QuantizeOnnxDynamic(), tiny_onnx)
    products = [node for node in load_graph(quantized.path).graph if node.op_type == "MatMulInteger"]
    weights = [node.inputs[1].const_value.numpy() for node in products]
    found = max(np.abs(array.astype(int)).max() for array in weights)
    assert largest - 1 <= found <= largest + 1
