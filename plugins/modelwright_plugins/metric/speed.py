"""Times of repeated calls, and the figure that two models' times make."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import ArrayLike
from pydantic import JsonValue

from modelwright.api.metric import Value
from modelwright.statistics import is_noisy, median_interval, relative_change


def milliseconds(call: Callable[[], object]) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1e3


def repeated(call: Callable[[], object], *, least: int, seconds: float = 0.0) -> list[float]:
    """Milliseconds of each of `least` calls, or of as many more as begin within `seconds`."""
    times: list[float] = []
    ends = time.perf_counter() + seconds
    while len(times) < least or time.perf_counter() < ends:
        times.append(milliseconds(call))
    return times


def speed_value(
    name: str,
    unit: str,
    at: Mapping[str, int | str],
    before: ArrayLike,
    after: ArrayLike,
    seed: int,
    protocol: Mapping[str, JsonValue],
) -> Value:
    """Medians over rounds of the baseline's and the candidate's figure; the ratio is taken round by round.

    Of a rate (a unit per second) more is better, of a time less.
    """
    theirs, ours = np.asarray(before, np.float64), np.asarray(after, np.float64)
    is_rate = unit.endswith("/s")
    ratio = median_interval(ours / theirs if is_rate else theirs / ours, seed)
    return Value(
        name=name,
        at=dict(at),
        unit=unit,
        better="higher" if is_rate else "lower",
        baseline=median_interval(theirs, seed),
        candidate=median_interval(ours, seed),
        difference=relative_change(median_interval(ours / theirs, seed)),
        ratio=ratio,
        noisy=is_noisy(ratio),
        protocol=dict(protocol),
    )
