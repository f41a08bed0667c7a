"""From which length of text on a KV cache has paid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def crossover(
    lengths: Sequence[float],
    cached: Sequence[float],
    recomputed: Sequence[float],
    prefill: float,
) -> int | None:
    """The text length from which on the cache has paid, in tokens; None where it has not within `lengths`.

    Times are of one token after a text of each length, which ascend; `prefill` is the time of filling the
    cache with the shortest. The first token after that prompt costs `prefill` or a run without the cache;
    every later one a step, or the run of all before it.

    >>> crossover([1, 101], [2.0, 2.0], [1.0, 6.0], prefill=1.5)
    42
    """
    shortest, longest = int(lengths[0]), int(lengths[-1])
    between = np.arange(shortest + 1, longest + 1)
    saved = np.interp(between, lengths, recomputed) - np.interp(between, lengths, cached)
    balance = recomputed[0] - prefill + np.concatenate([[0.0], saved.cumsum()])
    behind = np.flatnonzero(balance < 0)
    first = int(behind[-1]) + 1 if len(behind) else 0
    return shortest + 1 + first if first < len(balance) else None
