"""ONNX Runtime's CUDA provider: its libraries, and whether they load here."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from pathlib import Path

from modelwright.planning.gpu import gpus

CUDA = "CUDAExecutionProvider"


def load_libraries() -> None:
    """Load CUDA's libraries from where Python packages have them.

    What is missing is printed to standard error; a session then falls back to the CPU.
    """
    import onnxruntime as ort

    with contextlib.redirect_stdout(sys.stderr):
        ort.preload_dlls(msvc=False)


def cuda_problem() -> str | None:
    """What keeps the provider from running here; None where nothing does."""
    import onnxruntime as ort

    if CUDA not in ort.get_available_providers():
        return "built for the CPU: install modelwright[gpu] in place of modelwright[cpu]"
    load_libraries()
    folder = Path(ort.__file__).parent / "capi"
    try:
        # The provider refers to what the first library holds.
        ctypes.CDLL(str(folder / "libonnxruntime_providers_shared.so"), mode=ctypes.RTLD_GLOBAL)
        ctypes.CDLL(str(folder / "libonnxruntime_providers_cuda.so"))
    except OSError as error:
        return f"its CUDA provider does not load: {error}"
    return None if gpus() else "no NVIDIA GPU here"
