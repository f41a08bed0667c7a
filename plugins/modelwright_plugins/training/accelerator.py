"""The Accelerator of a process."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs

from modelwright.api.target import Target

# Others wait while the first evaluates, saves or reads what the rest does not.
LONGEST_WAIT = timedelta(hours=2)


def accelerator_of(precision: Literal["fp32", "bf16"], target: Target) -> Accelerator:
    """On the target's device, alone or as one of the processes that the environment tells of."""
    return Accelerator(
        cpu=target.device == "cpu",
        mixed_precision="bf16" if precision == "bf16" else "no",
        kwargs_handlers=[
            # A pooler, or a head that no loss reads, has no gradient.
            DistributedDataParallelKwargs(find_unused_parameters=True),
            InitProcessGroupKwargs(timeout=LONGEST_WAIT),
        ],
    )
