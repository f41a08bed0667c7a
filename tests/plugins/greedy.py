"""Greedy tokens of a runner, to compare with another's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from modelwright.api.runner import GenerationRunner


def greedy(runner: GenerationRunner, rows: Sequence[Sequence[int]], count: int) -> list[list[int]]:
    """`count` tokens after each row of ids, all rows in one batch, ends ignored."""
    decoder = runner.start(runner.batch(rows), count)
    found = [decoder.logits.argmax(axis=-1)]
    while len(found) < count:
        found.append(decoder.step(found[-1]).argmax(axis=-1))
    tokens: list[list[int]] = np.stack(found, axis=1).tolist()
    return tokens
