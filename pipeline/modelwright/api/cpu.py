"""The processor, as Linux describes it. Imports no runtime."""

from __future__ import annotations

import functools
import platform
from pathlib import Path


@functools.cache
def cpu_facts() -> dict[str, str]:
    """What /proc/cpuinfo says of the first processor; empty where there is no such file."""
    file = Path("/proc/cpuinfo")
    if not file.exists():
        return {}
    first = file.read_text(encoding="utf-8").partition("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def cpu_name() -> str:
    """Its name, or what kind it is of."""
    return cpu_facts().get("model name") or platform.processor() or platform.machine()


def cpu_instructions() -> frozenset[str]:
    """Its instruction sets by the kernel's names: `avx2`, `avx512_vnni`, `asimddp`; empty where unknown."""
    facts = cpu_facts()
    return frozenset((facts.get("flags") or facts.get("Features") or "").split())
