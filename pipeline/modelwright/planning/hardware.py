"""The machine: what it is, and whether it has what a target asks for. Imports no runtime."""

from __future__ import annotations

import ctypes
import functools
import platform
from pathlib import Path

from modelwright.api.target import Target, available_cpus
from modelwright.digest import digest_json
from modelwright.errors import MissingError
from modelwright.process.memory import total_memory

# Instruction sets that decide which kernels a runtime picks.
_NOTABLE = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx_vnni",
    "avx512_bf16",
    "amx_int8",
    "amx_bf16",
    "asimddp",
    "i8mm",
)


@functools.cache
def describe_hardware() -> dict[str, str]:
    """CPU, its instruction sets, CPUs usable, memory, GPUs and the operating system, in words."""
    cpu = _cpuinfo()
    flags = set((cpu.get("flags") or cpu.get("Features") or "").split())
    return {
        "cpu": cpu.get("model name") or platform.processor() or platform.machine(),
        "instructions": " ".join(name for name in _NOTABLE if name in flags) or "unknown",
        "cpus": str(available_cpus()),
        "memory": f"{total_memory() / 2**30:.1f} GiB",
        "gpu": ", ".join(gpus()) or "none",
        "system": f"{platform.system()} {platform.machine()}",
    }


def fingerprint() -> str:
    """SHA-256 that is equal on machines whose measurements may stand for each other."""
    return digest_json({key: value for key, value in describe_hardware().items() if key != "memory"})


@functools.cache
def gpus() -> tuple[str, ...]:
    """Names of the CUDA devices the driver shows; empty without a driver."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return ()
    count = ctypes.c_int()
    if cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(count)):
        return ()
    names = []
    for index in range(count.value):
        device, buffer = ctypes.c_int(), ctypes.create_string_buffer(128)
        cuda.cuDeviceGet(ctypes.byref(device), index)
        cuda.cuDeviceGetName(buffer, 128, device)
        names.append(buffer.value.decode())
    return tuple(names)


def check_target(target: Target, where: str) -> None:
    """Raise MissingError when the target's device is not here."""
    if target.device == "cuda" and not gpus():
        raise MissingError(
            "The target asks for a CUDA device, and this machine has none.",
            where=where,
            accepted="a machine with an NVIDIA GPU and its driver",
            hint="target=cpu runs here",
        )


def _cpuinfo() -> dict[str, str]:
    file = Path("/proc/cpuinfo")
    if not file.exists():
        return {}
    first = file.read_text(encoding="utf-8").partition("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}
