"""What counting gives: unigram and bigram models of the same tokens, to judge the trained model against."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from benchmarks.reference.corpus import Ids

Probabilities = npt.NDArray[np.float64]


def unigram(train: Ids, size: int) -> Probabilities:
    """The probability of each of `size` tokens, the counts smoothed by one."""
    counts = np.bincount(train, minlength=size) + 1.0
    probabilities: Probabilities = counts / counts.sum()
    return probabilities


def bigram(train: Ids, size: int) -> Probabilities:
    """The probability of each token (columns) after each (rows), of shape [size, size].

    Interpolated with the unigram after Witten & Bell (1991): the more different tokens have followed one,
    the more of its mass goes to those that have not.
    """
    counts = np.zeros((size, size))
    np.add.at(counts, (train[:-1], train[1:]), 1.0)
    kinds = (counts > 0).sum(axis=1, keepdims=True)
    seen = counts.sum(axis=1, keepdims=True)
    weight = np.divide(seen, seen + kinds, out=np.zeros_like(seen), where=seen > 0)
    follows = np.divide(counts, seen, out=np.zeros_like(counts), where=seen > 0)
    mixed: Probabilities = weight * follows + (1 - weight) * unigram(train, size)
    return mixed


def unigram_loss(train: Ids, judged: Ids, size: int) -> float:
    """Mean negative log-likelihood of all tokens of `judged` but the first, in nats."""
    return float(-np.log(unigram(train, size)[judged[1:]]).mean())


def bigram_loss(train: Ids, judged: Ids, size: int) -> float:
    """Mean negative log-likelihood of all tokens of `judged` but the first, in nats."""
    return float(-np.log(bigram(train, size)[judged[:-1], judged[1:]]).mean())
