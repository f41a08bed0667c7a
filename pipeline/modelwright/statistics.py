"""Intervals for what is measured: medians, ratios and paired differences, by the bootstrap.

Source: Efron & Tibshirani, An Introduction to the Bootstrap (1993), percentile intervals, chapter 13.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from modelwright.api.metric import Interval

RESAMPLES = 2000


def median_interval(samples: ArrayLike, seed: int = 0) -> Interval:
    """The median of samples and its 95 % percentile-bootstrap interval."""
    values = np.asarray(samples, dtype=np.float64)
    medians = np.median(values[_resampled(len(values), seed)], axis=1)
    return bootstrap_interval(float(np.median(values)), medians)


def mean_interval(samples: ArrayLike, seed: int = 0) -> Interval:
    """The mean of samples and its 95 % percentile-bootstrap interval."""
    values = np.asarray(samples, dtype=np.float64)
    return bootstrap_interval(float(values.mean()), values[_resampled(len(values), seed)].mean(axis=1))


def paired_difference(
    baseline: ArrayLike, candidate: ArrayLike, seed: int = 0, *, relative: bool = True
) -> Interval:
    """Mean of candidate minus mean of baseline over the same items, with its paired 95 % interval.

    `relative` divides by the baseline's mean, of the same resample.
    """
    before = np.asarray(baseline, dtype=np.float64)
    after = np.asarray(candidate, dtype=np.float64)
    drawn = _resampled(len(before), seed)
    means, others = before[drawn].mean(axis=1), after[drawn].mean(axis=1)
    if not relative:
        return bootstrap_interval(float(after.mean() - before.mean()), others - means)
    if before.mean() == 0:
        return Interval.exactly(0.0 if after.mean() == 0 else float(np.sign(after.mean()) * np.inf))
    means = np.where(means == 0, np.nan, means)
    return bootstrap_interval(float(after.mean() / before.mean() - 1), (others / means - 1)[~np.isnan(means)])


def ratio_of_sums(numerators: ArrayLike, denominators: ArrayLike, seed: int = 0) -> Interval:
    """The sum of numerators by the sum of denominators over the same items, with its 95 % interval.

    It is the mean of what items hold differently much of, such as nats per token over windows: items are
    drawn, numerator and denominator together.
    """
    above = np.asarray(numerators, dtype=np.float64)
    below = np.asarray(denominators, dtype=np.float64)
    drawn = _resampled(len(above), seed)
    resamples = above[drawn].sum(axis=1) / below[drawn].sum(axis=1)
    return bootstrap_interval(float(above.sum() / below.sum()), resamples)


def bootstrap_interval(value: float, resamples: ArrayLike) -> Interval:
    """A statistic with the 95 % percentile interval of its resamples, which always holds the statistic."""
    low, high = np.percentile(np.asarray(resamples, dtype=np.float64), [2.5, 97.5])
    return Interval(value=value, low=min(float(low), value), high=max(float(high), value))


def relative_change(ratio: Interval) -> Interval:
    """A ratio, candidate by baseline, as the difference that it makes: 1.2 becomes 0.2."""
    return Interval(value=ratio.value - 1, low=ratio.low - 1, high=ratio.high - 1)


def is_noisy(interval: Interval, share: float = 0.2) -> bool:
    """Whether an interval is wider than a share of its value."""
    return interval.high - interval.low > share * abs(interval.value)


def _resampled(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, count, (RESAMPLES, count))
