from __future__ import annotations

from typing import Any, ClassVar

import pytest

from modelwright.testing.conformance import StageConformance
from modelwright_plugins.quantize.onnx_weight_only import QuantizeOnnxWeightOnly

pytest.importorskip("onnxscript", reason="needs the export extra")


class TestOnnxWeightOnly(StageConformance):
    """An encoder, without data."""

    stage = QuantizeOnnxWeightOnly
    parameters: ClassVar[dict[str, Any]] = {"embeddings": True}


class TestOnnxWeightOnlyOfACausalModel(StageConformance):
    """All that data are used for."""

    stage = QuantizeOnnxWeightOnly
    task = "generate"
    parameters: ClassVar[dict[str, Any]] = {
        "method": "gptq",
        "data": "texts",
        "samples": 8,
        "length": 32,
        "budget": 5,
        "sensitivity_samples": 2,
        "embeddings": True,
    }
