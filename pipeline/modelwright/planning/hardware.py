"""The machine: what it is, and whether it has what a target asks for. Imports no runtime."""

from __future__ import annotations

import functools
import platform

from modelwright.api.cpu import cpu_instructions, cpu_name
from modelwright.api.target import Target, available_cpus
from modelwright.digest import digest_json
from modelwright.errors import MissingError
from modelwright.planning.devices import parse_size
from modelwright.planning.gpu import driver, gpus
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


# What does not change figures of quality, which the store keeps by the rest.
UNIMPORTANT = ("memory", "driver")


@functools.cache
def describe_hardware() -> dict[str, str]:
    """CPU, its instruction sets, CPUs usable, memory, GPUs, driver and the operating system, in words."""
    found = driver()
    return {
        "cpu": cpu_name(),
        "instructions": " ".join(name for name in _NOTABLE if name in cpu_instructions()) or "unknown",
        "cpus": str(available_cpus()),
        "memory": f"{total_memory() / 2**30:.1f} GiB",
        "gpu": ", ".join(map(str, gpus())) or "none",
        **({"driver": str(found)} if found else {}),
        "system": f"{platform.system()} {platform.machine()}",
    }


def fingerprint() -> str:
    """SHA-256 that is equal on machines whose measurements may stand for each other."""
    return digest_json({key: value for key, value in describe_hardware().items() if key not in UNIMPORTANT})


# What to install for a target on a machine that has its GPU, and what can be done without one.
WAYS = {
    None: ("gpu", "target=cpu runs here"),
    "tensorrt": ("gpu,tensorrt", "target=rtx-build builds an engine here, for GPUs of workstations"),
    "tensorrt_rtx": ("gpu,tensorrt-rtx", "target=rtx-build builds an engine here"),
}


def check_target(target: Target, where: str) -> None:
    """Raise MissingError when the target's device is not here, RecipeError for a limit that is no size."""
    if target.memory_limit is not None:
        parse_size(target.memory_limit, "target.memory_limit")
    if target.device == "cuda" and not gpus():
        extra, otherwise = WAYS[target.tensorrt]
        raise MissingError(
            "The target asks for a CUDA device, and this machine has none.",
            where=where,
            accepted="a machine with an NVIDIA GPU and its driver",
            hint=f"install 'modelwright[{extra}]' on such a machine; {otherwise}",
        )
