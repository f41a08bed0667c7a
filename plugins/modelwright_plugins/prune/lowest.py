"""The value below which a given number of scores lie, of more scores than memory would sort."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

BITS = 16


def kth_smallest(scores: Callable[[], Iterable[torch.Tensor]], k: int) -> tuple[float, int]:
    """The k-th smallest (from 1) of scores that are never negative, and how many are smaller.

    `scores` gives the tensors anew each time it is called, float32. Exact: the bits of floats that are not
    negative sort as the numbers do, so that two counts over 16 of them each find the value.
    """
    import torch

    def counts(of: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        total = torch.zeros(1 << BITS, dtype=torch.int64)
        for tensor in scores():
            total += torch.bincount(of(tensor.flatten().float().view(torch.int32)), minlength=1 << BITS)
        return total

    high, below = _bin(counts(lambda bits: bits >> BITS), k)
    low, within = _bin(counts(lambda bits: (bits & 0xFFFF)[bits >> BITS == high]), k - below)
    value = torch.tensor(high << BITS | low, dtype=torch.int32).view(torch.float32)
    return float(value), below + within


def _bin(counts: torch.Tensor, k: int) -> tuple[int, int]:
    """The bin that holds the k-th, and how many lie in those before."""
    import torch

    passed = counts.cumsum(0)
    found = int(torch.searchsorted(passed, k))
    return found, int(passed[found - 1]) if found else 0
