"""Greedy generation, and where two of them part."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from modelwright.api.runner import GenerationRunner, Tokens


def greedy(runner: GenerationRunner, rows: Sequence[Sequence[int]], size: int, new_tokens: int) -> Tokens:
    """The most likely continuations in batches of `size`, past ends of text; of shape [rows, new_tokens]."""
    found = []
    for first in range(0, len(rows), size):
        decoder = runner.start(runner.batch(rows[first : first + size]), new_tokens)
        columns = [decoder.logits.argmax(axis=1)]
        while len(columns) < new_tokens:
            columns.append(decoder.step(columns[-1]).argmax(axis=1))
        found.append(np.stack(columns, axis=1))
    return np.concatenate(found).astype(np.int64, copy=False)


def first_divergences(before: Tokens, after: Tokens) -> NDArray[np.int64]:
    """How many tokens of each row are alike before the first that differs.

    >>> first_divergences(np.array([[1, 2, 3], [4, 5, 6]]), np.array([[1, 9, 3], [4, 5, 6]])).tolist()
    [1, 3]
    """
    return np.asarray(np.cumprod(before == after, axis=1).sum(axis=1), np.int64)
