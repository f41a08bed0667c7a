"""What NVIDIA's management library tells, which comes with the driver: version, clocks, memory in use."""

from __future__ import annotations

import ctypes
import functools
from typing import NamedTuple

# nvmlClockType_t in its API.
SM_CLOCK = 1


class Clock(NamedTuple):
    """MHz of a GPU's multiprocessors: now, and the most that they can run at."""

    now: int
    most: int


class _Memory(ctypes.Structure):
    """nvmlMemory_t, in bytes."""

    _fields_ = [(name, ctypes.c_ulonglong) for name in ("total", "free", "used")]


def driver_version() -> str:
    """The driver's own version; empty without one."""
    library, text = _library(), ctypes.create_string_buffer(80)
    if library is None or library.nvmlSystemGetDriverVersion(text, len(text)):
        return ""
    return text.value.decode()


def clock(bus: str) -> Clock | None:
    """The clock of the GPU at a PCI bus id; None where the driver does not tell."""
    library, device, now, most = _library(), ctypes.c_void_p(), ctypes.c_uint(), ctypes.c_uint()
    if (
        library is None
        or library.nvmlDeviceGetHandleByPciBusId_v2(bus.encode(), ctypes.byref(device))
        or library.nvmlDeviceGetClockInfo(device, SM_CLOCK, ctypes.byref(now))
        or library.nvmlDeviceGetMaxClockInfo(device, SM_CLOCK, ctypes.byref(most))
    ):
        return None
    return Clock(now.value, most.value)


def used_memory(bus: str) -> int | None:
    """Bytes in use on the GPU at a PCI bus id, by whichever process; None where the driver does not tell."""
    library, device, memory = _library(), ctypes.c_void_p(), _Memory()
    if (
        library is None
        or library.nvmlDeviceGetHandleByPciBusId_v2(bus.encode(), ctypes.byref(device))
        or library.nvmlDeviceGetMemoryInfo(device, ctypes.byref(memory))
    ):
        return None
    return int(memory.used)


@functools.cache
def _library() -> ctypes.CDLL | None:
    """The library, begun once for each process; None without a driver."""
    try:
        library = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return None
    return None if library.nvmlInit_v2() else library
