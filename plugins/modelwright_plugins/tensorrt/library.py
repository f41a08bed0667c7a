"""TensorRT and TensorRT for RTX: one interface under two names."""

from __future__ import annotations

import functools
import importlib
import logging
from collections.abc import Sequence
from typing import Any

from modelwright.api.target import TensorRTLibrary
from modelwright.errors import MissingError, RecipeError
from modelwright.planning.gpu import gpus

log = logging.getLogger(__name__)

TITLES: dict[TensorRTLibrary, str] = {"tensorrt": "TensorRT", "tensorrt_rtx": "TensorRT for RTX"}
EXTRAS: dict[TensorRTLibrary, str] = {"tensorrt": "tensorrt", "tensorrt_rtx": "tensorrt-rtx"}


def load(library: TensorRTLibrary) -> Any:
    """The Python module. Raises MissingError where it is not installed or does not load."""
    try:
        return importlib.import_module(library)
    except (ImportError, OSError) as error:
        raise MissingError(
            f"{TITLES[library]} cannot be used here: {error}.",
            where="target.tensorrt",
            hint=f"pip install 'modelwright[{EXTRAS[library]}]'",
        ) from error


def problem_of(library: TensorRTLibrary) -> str | None:
    """What keeps a library from this machine's GPUs; None where nothing does."""
    try:
        trt = load(library)
    except MissingError as error:
        return f"{error.what.rstrip('.')}; {error.hint}"
    if not gpus():
        return "no NVIDIA GPU here" + ("; builds engines without one" if library == "tensorrt_rtx" else "")
    served = served_capabilities(trt) if library == "tensorrt_rtx" else []
    here = gpus()[0].compute_capability
    if served and here not in served:
        return f"serves compute capability {', '.join(served)}, and this GPU has {here}"
    return None


def require_served(library: TensorRTLibrary, capabilities: Sequence[str]) -> None:
    """Raise RecipeError for a compute capability that TensorRT for RTX does not build for, or named twice."""
    served = served_capabilities(load(library))
    for place, capability in enumerate(capabilities):
        if capability not in served or capability in capabilities[:place]:
            reason = "twice" if capability in served else f"and {TITLES[library]} builds nothing for it"
            raise RecipeError(
                f"The target asks for compute capability {capability}, {reason}.",
                where="target.compute_capabilities",
                accepted=", ".join(served),
            )


def served_capabilities(trt: Any) -> list[str]:
    """The compute capabilities that TensorRT for RTX builds for, such as 8.9."""
    names = [name for name in trt.ComputeCapability.__members__ if name.startswith("SM")]
    return [f"{name[2:-1]}.{name[-1]}" for name in names]


def capability_of(trt: Any, version: str) -> Any:
    """The member of trt.ComputeCapability for a version such as 8.9, which `require_served` has let pass."""
    return trt.ComputeCapability.__members__[f"SM{version.replace('.', '')}"]


@functools.cache
def logger_of(trt: Any) -> Any:
    """The library's logger, which keeps what it says of errors in `errors` and passes warnings on.

    One for each process: the library goes on with the first that it is given.
    """

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.errors: list[str] = []

        def said(self) -> str:
            """The errors since they were last cleared."""
            return " ".join(self.errors) or "it does not say why"

        def log(self, severity: Any, message: str) -> None:
            if severity <= trt.ILogger.ERROR:
                self.errors.append(message)
            elif severity == trt.ILogger.WARNING:
                log.warning("%s", message)

    return Logger()
