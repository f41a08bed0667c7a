"""Steps that tables share: to a graph in float16, and to an engine of the TensorRT that serves the GPU."""

from __future__ import annotations

from typing import Any

from modelwright.api.target import Target, TensorRTLibrary
from modelwright_plugins.tensorrt.library import TITLES, problem_of

CUDA = Target(device="cuda", provider="CUDAExecutionProvider")
EXPORT: dict[str, dict[str, Any]] = {
    "cast": {"use": "cast.dtype", "dtype": "fp16"},
    "export": {"use": "export.onnx", "opset": 23},
}
TARGETS: dict[TensorRTLibrary, str] = {"tensorrt": "tensorrt", "tensorrt_rtx": "rtx"}


def usable_libraries() -> list[TensorRTLibrary]:
    """The libraries of TensorRT that serve the GPU here."""
    return [library for library in TITLES if problem_of(library) is None]
