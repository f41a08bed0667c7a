"""Memory of this process and of this machine, in bytes."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path


def peak_rss() -> int:
    """The largest resident set this process has had.

    Linux's VmHWM starts anew at exec; ru_maxrss would count the parent's memory at the fork as well.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def total_memory() -> int:
    """Memory of the machine, or of the container where that is less."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.exists():
        text = limit.read_text(encoding="ascii").strip()
        if text.isdigit():
            return min(total, int(text))
    return total
