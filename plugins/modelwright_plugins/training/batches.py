"""Which examples make up the batch of a step: a function of the seed and the step alone."""

from __future__ import annotations

import random
from collections.abc import Sequence

# Batches whose examples are sorted by length together, so that little is padded and the order still varies.
SORTED_TOGETHER = 16


class BatchOrder:
    """The batches of every step.

    >>> order = BatchOrder([len(example.tokens) for example in examples], batch_size=32, seed=0)
    >>> order.batch(step=0)                       # indices of 32 examples of similar length
    >>> order.per_epoch

    Each epoch is a new order; what is left over at its end waits for another epoch.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self.per_epoch = len(lengths) // batch_size
        self._lengths = lengths
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = -1
        self._batches: list[list[int]] = []

    def batch(self, step: int) -> list[int]:
        """Indices of the examples of a step, counted from 0."""
        epoch, place = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            self._epoch, self._batches = epoch, self._order(epoch)
        return self._batches[place]

    def _order(self, epoch: int) -> list[list[int]]:
        rng = random.Random(f"{self._seed}:{epoch}")
        order = rng.sample(range(len(self._lengths)), self.per_epoch * self._batch_size)
        together = SORTED_TOGETHER * self._batch_size
        batches: list[list[int]] = []
        for start in range(0, len(order), together):
            part = sorted(order[start : start + together], key=self._lengths.__getitem__)
            batches += [part[at : at + self._batch_size] for at in range(0, len(part), self._batch_size)]
        rng.shuffle(batches)
        return batches


def by_length(lengths: Sequence[int], batch_size: int) -> list[list[int]]:
    """Indices of all examples, the shortest first, in batches of at most `batch_size`."""
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
