"""The machine a benchmark ran on, for its results."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from typing import Any

from modelwright.api.cpu import cpu_facts, cpu_instructions, cpu_name
from modelwright.process.load import QUIET_SHARE

Shares = Mapping[str, float | None]


def machine(others: Shares) -> dict[str, Any]:
    """The processor, the system, and by cell the share of the CPUs that other processes used meanwhile."""
    return {
        "cpu": cpu_model(),
        "cpus": os.cpu_count(),
        "system": platform.platform(),
        "cpu_share_of_others": dict(others),
    }


def cpu_model() -> str:
    """The processor's name and the instructions that int8 and bf16 arithmetic depend on."""
    wanted = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8")
    there = [name for name in wanted if name in cpu_instructions()]
    return f"{cpu_name()}, family {cpu_facts().get('cpu family', '?')} ({', '.join(there)})"


def busy_text(shares: Shares) -> str:
    """Which cells were measured while other processes kept the machine busy."""
    known = {cell: share for cell, share in shares.items() if share is not None}
    if not known:
        return "What else ran meanwhile is not known."
    busy = [f"{cell} ({share:.0%})" for cell, share in known.items() if share > QUIET_SHARE]
    if busy:
        return f"**Other processes kept the CPUs busy during {', '.join(busy)}: measure those again.**"
    return f"Other processes used at most {max(known.values()):.0%} of the CPUs meanwhile."
