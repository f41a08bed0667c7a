from __future__ import annotations

import platform

import pytest

from modelwright.api.target import Target
from modelwright_plugins.quantize.onnx_dynamic import QuantizeOnnxDynamic
from modelwright_plugins.quantize.onnx_static import QuantizeOnnxStatic
from modelwright_plugins.quantize.saturation import saturates

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
        assert stage.model_validate({"data": "docs", "reduce_range": given}).decides_by_measuring() is depends
