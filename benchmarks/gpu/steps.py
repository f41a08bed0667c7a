"""What tables share: steps to a graph in float16, sessions that record it, the TensorRT that serves here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from modelwright.api.model import Model
from modelwright.api.target import Target, TensorRTLibrary
from modelwright.errors import RecipeError
from modelwright_plugins.format.onnx_session import open_session
from modelwright_plugins.tensorrt.library import TITLES, problem_of

if TYPE_CHECKING:
    import onnxruntime

CUDA = Target(device="cuda", provider="CUDAExecutionProvider")
EXPORT: dict[str, dict[str, Any]] = {
    "cast": {"use": "cast.dtype", "dtype": "fp16"},
    "export": {"use": "export.onnx", "opset": 23},
}
TARGETS: dict[TensorRTLibrary, str] = {"tensorrt": "tensorrt", "tensorrt_rtx": "rtx"}


def usable_libraries() -> list[TensorRTLibrary]:
    """The libraries of TensorRT that serve the GPU here."""
    return [library for library in TITLES if problem_of(library) is None]


def recordings(
    graphs: Mapping[str, Model],
) -> tuple[dict[str, onnxruntime.InferenceSession], dict[str, str]]:
    """Sessions that record kernels, of the graphs that allow it, and why others do not."""
    sessions, reasons = {}, {}
    for name, graph in graphs.items():
        try:
            sessions[name] = open_session(graph, CUDA, graph_capture=True)
        except RecipeError as error:
            reasons[name] = error.what
    return sessions, reasons
