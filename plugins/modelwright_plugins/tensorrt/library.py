"""TensorRT and TensorRT for RTX: one interface under two names."""

from __future__ import annotations

import functools
import importlib
import logging
from typing import Any

from modelwright.api.target import TensorRTLibrary
from modelwright.errors import MissingError

log = logging.getLogger(__name__)

TITLES: dict[TensorRTLibrary, str] = {"tensorrt": "TensorRT", "tensorrt_rtx": "TensorRT for RTX"}
EXTRAS: dict[TensorRTLibrary, str] = {"tensorrt": "tensorrt", "tensorrt_rtx": "tensorrt-rtx"}


def load(library: TensorRTLibrary) -> Any:
    """The Python module. Raises MissingError where it is not installed or does not load."""
    try:
        return importlib.import_module(library)
    except (ImportError, OSError) as error:
        raise MissingError(
            f"{TITLES[library]} cannot be used here: {error}",
            where="target.tensorrt",
            hint=f"pip install 'modelwright[{EXTRAS[library]}]'",
        ) from error


@functools.cache
def logger_of(trt: Any) -> Any:
    """The library's logger, which keeps what it says of errors in `errors` and passes warnings on.

    One for each process: the library goes on with the first that it is given.
    """

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity <= trt.ILogger.ERROR:
                self.errors.append(message)
            elif severity == trt.ILogger.WARNING:
                log.warning("%s", message)

    return Logger()
