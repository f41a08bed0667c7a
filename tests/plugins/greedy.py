"""Greedy tokens of a runner, and comparing them with another's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from modelwright.api.runner import GenerationRunner, Inputs


def greedy(runner: GenerationRunner, rows: Sequence[Sequence[int]], count: int) -> list[list[int]]:
    """`count` tokens after each row of ids, all rows in one batch, ends ignored."""
    decoder = runner.start(runner.batch(rows), count)
    found = [decoder.logits.argmax(axis=-1)]
    while len(found) < count:
        found.append(decoder.step(found[-1]).argmax(axis=-1))
    tokens: list[list[int]] = np.stack(found, axis=1).tolist()
    return tokens


def assert_same_steps(
    reference: GenerationRunner, runner: GenerationRunner, inputs: Inputs, steps: int
) -> None:
    """Both continue a batch with the same greedy tokens, by logits that are at most 0.001 apart."""
    expected, found = reference.start(inputs, steps), runner.start(inputs, steps)
    for _ in range(steps):
        np.testing.assert_allclose(found.logits, expected.logits, rtol=0, atol=1e-3)
        tokens = found.logits.argmax(axis=-1)
        np.testing.assert_array_equal(tokens, expected.logits.argmax(axis=-1))
        expected.step(tokens)
        found.step(tokens)
