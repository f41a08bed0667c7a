"""OpenVINO without its telemetry: nothing is sent, no file is written to the home folder."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType


def import_openvino() -> ModuleType:
    """Import OpenVINO with its telemetry package blocked, in this process.

    >>> core = import_openvino().Core()

    OpenVINO, its converter and NNCF each report usage over the network on import, by default, where
    `openvino_telemetry` can be imported, and fall back to a stub where it cannot. Call this before anything
    that may import one of them.
    """
    if "openvino" not in sys.modules:
        # None makes an import raise ImportError; no environment variable turns all three off.
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    return importlib.import_module("openvino")
