"""How the learning rate goes from step to step."""

from __future__ import annotations

import math
from typing import Literal

Schedule = Literal["cosine", "linear", "constant"]


def learning_rate_factor(step: int, steps: int, warmup: float, schedule: Schedule) -> float:
    """The share of the learning rate that step `step`, counted from 0, of `steps` is made with.

    It rises linearly over the first `warmup` of the steps, then falls to 0 by half a cosine (Loshchilov &
    Hutter 2017, arXiv:1608.03983), linearly, or not at all.
    """
    rising = round(warmup * steps)
    if step < rising:
        return (step + 1) / rising
    if schedule == "constant":
        return 1.0
    done = (step - rising) / max(1, steps - rising)
    return 0.5 * (1 + math.cos(math.pi * done)) if schedule == "cosine" else 1 - done
