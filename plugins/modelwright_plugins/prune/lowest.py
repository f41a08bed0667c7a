"""Where the lowest scores lie: of all matrices together, or of each row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

BITS = 16
Scores = Callable[[], Iterable["torch.Tensor"]]


def lowest_of_all(scores: Scores, share: float) -> Iterator[torch.Tensor]:
    """For each tensor of scores where the lowest share of them all lies, bool; of equal ones the first.

    `scores` gives the tensors anew each time it is called, float32 and never negative: there may be more of
    them than memory would sort.
    """
    count = round(share * sum(found.numel() for found in scores()))
    threshold, smaller = kth_smallest(scores, count) if count else (0.0, 0)
    equal = count - smaller
    for found in scores():
        lowest = (found < threshold).contiguous()  # scores of a transposed weight are not
        ties = (found == threshold).flatten().nonzero().flatten()[:equal]
        equal -= len(ties)
        lowest.view(-1)[ties] = True
        yield lowest


def lowest_of_rows(scores: torch.Tensor, share: float) -> torch.Tensor:
    """Where the lowest share of each row lies, bool as `scores` [rows, width]; of equal ones the first."""
    import torch

    lowest = scores.argsort(dim=1, stable=True)[:, : round(share * scores.shape[1])]
    return torch.zeros_like(scores, dtype=torch.bool).scatter_(1, lowest, True)


def kth_smallest(scores: Scores, k: int) -> tuple[float, int]:
    """The k-th smallest (from 1) of scores, and how many are smaller.

    Exact: the bits of floats that are not negative sort as the numbers do, so that two counts over 16 of
    them each find the value.
    """
    import torch

    def counts(of: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        total = torch.zeros(1 << BITS, dtype=torch.int64)
        for tensor in scores():
            bits = of(tensor.flatten().float().view(torch.int32))
            total += torch.bincount(bits, minlength=1 << BITS).cpu()
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
