"""Which batch a step reads and how far it moves: both follow from the protocol and the step alone."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from tokenizers import Tokenizer

from benchmarks.reference.corpus import Ids, sequences
from benchmarks.reference.protocol import Protocol


def learning_rate(protocol: Protocol, step: int) -> float:
    """Linear warm-up, then constant, then linear to zero over the last share `decay` of the steps.

    As good as a cosine (Hägele et al. 2024), and what has been trained before the decay serves longer
    and shorter runs alike.
    """
    warm = (step + 1) / protocol.warmup
    left = (protocol.steps - step) / (protocol.decay * protocol.steps)
    return protocol.learning_rate * min(warm, left, 1.0)


def batches(protocol: Protocol, tokenizer: Tokenizer, rows: Sequence[Ids], start: int) -> Iterator[Ids]:
    """The batch of each step from `start` on, of shape [batch, length] of its phase."""
    passed = 0
    for number, phase in enumerate(protocol.phases):
        generator = np.random.default_rng((protocol.seed, number))
        supply = sequences(tokenizer, rows, phase.length, generator)
        for step in range(passed, passed + phase.steps):
            batch = list(itertools.islice(supply, phase.batch))
            if step >= start:
                yield np.stack(batch)
        passed += phase.steps
