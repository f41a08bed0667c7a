"""Which TensorRT serves the GPU here, and the target that builds for it."""

from __future__ import annotations

from modelwright.api.target import TensorRTLibrary
from modelwright_plugins.tensorrt.library import TITLES, problem_of

TARGETS: dict[TensorRTLibrary, str] = {"tensorrt": "tensorrt", "tensorrt_rtx": "rtx"}


def usable_libraries() -> list[TensorRTLibrary]:
    """The libraries of TensorRT that serve the GPU here."""
    return [library for library in TITLES if problem_of(library) is None]
