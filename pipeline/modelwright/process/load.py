"""How much of the CPUs other processes used meanwhile: on a busy machine the figures say little."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

QUIET_SHARE = 0.1


class Ticks(NamedTuple):
    """Clock ticks since boot: of all CPUs, those of them that were busy, and those of given processes."""

    total: int
    busy: int
    own: int


def read(pids: Iterable[int]) -> Ticks | None:
    """The ticks so far (proc(5)); None on a system without /proc."""
    statistics = Path("/proc/stat")
    if not statistics.is_file():
        return None
    cpus = [int(text) for text in statistics.read_text().splitlines()[0].split()[1:9]]
    idle = cpus[3] + cpus[4]
    own = 0
    for pid in [os.getpid(), *pids]:
        file = Path(f"/proc/{pid}/stat")
        if file.is_file():
            # The process's name may hold spaces; the numbers follow its closing parenthesis.
            fields = file.read_text().rpartition(")")[2].split()
            own += int(fields[11]) + int(fields[12])
    return Ticks(sum(cpus), sum(cpus) - idle, own)


def others(before: Ticks | None, after: Ticks | None) -> float | None:
    """The share of all CPU time between two readings that was used by other processes, 0 to 1."""
    if before is None or after is None or after.total == before.total:
        return None
    used = (after.busy - before.busy) - (after.own - before.own)
    return min(1.0, max(0.0, used / (after.total - before.total)))
