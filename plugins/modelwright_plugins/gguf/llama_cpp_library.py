"""llama.cpp's library, as llama-cpp-python brings it."""

from __future__ import annotations

import functools
import logging
from typing import Any

from packaging.requirements import Requirement

from modelwright.api.component import installed_version
from modelwright.errors import MissingError

DISTRIBUTION = "llama-cpp-python"
REQUIREMENT = "llama-cpp-python>=0.3.36,<0.4"

_LOGGER = logging.getLogger(__name__)
_LEVELS = {3: logging.INFO, 4: logging.ERROR}
_CONTINUED = 5
_KEPT: list[Any] = []


def require_llama_cpp(where: str, purpose: str) -> None:
    """Raise MissingError when llama-cpp-python is not installed, or in a version that was not tried."""
    found = installed_version(DISTRIBUTION)
    if found is None or not Requirement(REQUIREMENT).specifier.contains(found, prereleases=True):
        state = f"{found} is installed" if found else "it is not installed"
        raise MissingError(
            f"{purpose} needs {REQUIREMENT}, and {state}.",
            where=where,
            hint="pip install 'modelwright[gguf]'",
        )


def llama_cpp_version() -> dict[str, str]:
    """llama-cpp-python's version by its name; empty when it is not installed."""
    found = installed_version(DISTRIBUTION)
    return {DISTRIBUTION: found} if found else {}


@functools.cache
def import_llama_cpp() -> Any:
    """The C functions by their own names, errors logged. Raises MissingError when it is not there.

    >>> import_llama_cpp().llama_version()
    """
    require_llama_cpp("the format gguf", "llama.cpp")
    from llama_cpp import llama_cpp

    # The binding's own callback takes ggml's levels for others: it would print notes and drop errors.
    callback = llama_cpp.llama_log_callback(_Log())
    llama_cpp.llama_log_set(callback, None)
    _KEPT.append(callback)  # C holds the address only
    llama_cpp.llama_backend_init()
    return llama_cpp


class _Log:
    """Passes llama.cpp's warnings and errors on to `logging`."""

    def __init__(self) -> None:
        self._level = 0

    def __call__(self, level: int, text: bytes, _: object) -> None:
        """Levels are ggml's: 3 warning, 4 error, 5 the same line as before."""
        self._level = level if level != _CONTINUED else self._level
        line = text.decode("utf-8", "replace").rstrip()
        if self._level in _LEVELS and line:
            _LOGGER.log(_LEVELS[self._level], "%s", line)
