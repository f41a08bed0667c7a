"""Windows that slide over a text, so that each of its tokens is judged once."""

from __future__ import annotations


def sliding_windows(tokens: int, length: int, stride: int) -> tuple[list[int], list[int]]:
    """Where each window starts, and how many tokens at its end it judges; in all one less than `tokens`.

    The last one is moved back to be as long as the others.

    >>> sliding_windows(10, 4, 2)
    ([0, 2, 4, 6], [3, 2, 2, 2])
    """
    starts, counts, judged = [0], [min(length, tokens) - 1], min(length, tokens)
    while judged < tokens:
        start = min(starts[-1] + stride, tokens - length)
        starts.append(start)
        counts.append(start + length - judged)
        judged = start + length
    return starts, counts
