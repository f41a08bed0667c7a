"""NVIDIA GPUs and their driver, asked without any runtime."""

from __future__ import annotations

import ctypes
import functools
from dataclasses import dataclass

from modelwright.process.nvml import driver_version, used_memory

# CUdevice_attribute in CUDA's driver API.
CAPABILITY_MAJOR, CAPABILITY_MINOR = 75, 76


@dataclass(frozen=True)
class Gpu:
    """A GPU: its name, its compute capability such as 9.0, and where it is on the PCI bus."""

    name: str
    compute_capability: str
    bus: str = ""

    def __str__(self) -> str:
        return f"{self.name} (compute capability {self.compute_capability})"


@dataclass(frozen=True)
class Driver:
    """The driver's own version, empty where it does not tell, and the newest CUDA it serves, such as 13.0."""

    version: str
    cuda: str

    def __str__(self) -> str:
        return ", ".join(filter(None, (self.version, f"up to CUDA {self.cuda}")))


@functools.cache
def gpus() -> tuple[Gpu, ...]:
    """The CUDA devices that the driver shows; empty without a driver."""
    cuda = _library()
    count = ctypes.c_int()
    if cuda is None or cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(count)):
        return ()
    return tuple(_gpu(cuda, index) for index in range(count.value))


@functools.cache
def driver() -> Driver | None:
    """The driver's versions; None without a driver."""
    cuda = _library()
    number = ctypes.c_int()
    if cuda is None or cuda.cuDriverGetVersion(ctypes.byref(number)):
        return None
    served = f"{number.value // 1000}.{number.value % 1000 // 10}"
    return Driver(driver_version(), served)


def gpu_memory() -> int | None:
    """Bytes in use on the GPUs that this process sees, by whichever process; None where one does not tell."""
    used = [used_memory(gpu.bus) for gpu in gpus()]
    return sum(filter(None, used)) if used and None not in used else None


def _gpu(cuda: ctypes.CDLL, index: int) -> Gpu:
    device, name = ctypes.c_int(), ctypes.create_string_buffer(128)
    cuda.cuDeviceGet(ctypes.byref(device), index)
    cuda.cuDeviceGetName(name, 128, device)
    major, minor = (_attribute(cuda, which, device) for which in (CAPABILITY_MAJOR, CAPABILITY_MINOR))
    bus = ctypes.create_string_buffer(32)
    cuda.cuDeviceGetPCIBusId(bus, len(bus), device)
    return Gpu(name.value.decode(), f"{major}.{minor}", bus.value.decode())


def _attribute(cuda: ctypes.CDLL, which: int, device: ctypes.c_int) -> int:
    value = ctypes.c_int()
    cuda.cuDeviceGetAttribute(ctypes.byref(value), which, device)
    return value.value


def _library() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
