"""Figures as metrics give them, for the sample reports."""

from __future__ import annotations

from typing import Any

from pydantic import JsonValue

from modelwright.api.metric import Direction, Interval, Value
from modelwright.report.model import StepParity, StepRecovery

SPEED_PROTOCOL: dict[str, JsonValue] = {"rounds": 5, "warmup": 3, "repeats": 40, "threads": 2, "seed": 0}
QUALITY_PROTOCOL: dict[str, JsonValue] = {"queries": 1000, "max_length": 256, "seed": 0, "bootstrap": 2000}


def interval(value: float, spread: float) -> Interval:
    return Interval(value=value, low=value * (1 - spread), high=value * (1 + spread))


def ratio(above: Interval, below: Interval) -> Interval:
    return Interval(value=above.value / below.value, low=above.low / below.high, high=above.high / below.low)


def cost(name: str, unit: str, baseline: Interval, candidate: Interval, **fields: Any) -> Value:
    """A figure of which less is better."""
    times = ratio(baseline, candidate)
    change = Interval(value=1 / times.value - 1, low=1 / times.high - 1, high=1 / times.low - 1)
    return Value(
        name=name,
        unit=unit,
        better="lower",
        baseline=baseline,
        candidate=candidate,
        difference=change,
        ratio=times,
        **fields,
    )


def latency(batch: int, length: int, before: float, after: float, *, noisy: bool = False) -> Value:
    spread = 0.18 if noisy else 0.04
    return cost(
        "latency.p50",
        "ms",
        interval(before, spread),
        interval(after, spread),
        at={"batch": batch, "length": length},
        noisy=noisy,
        protocol=SPEED_PROTOCOL,
    )


def throughput(batch: int, before: float, after: float) -> Value:
    baseline, candidate = interval(before, 0.03), interval(after, 0.03)
    times = ratio(candidate, baseline)
    change = Interval(value=times.value - 1, low=times.low - 1, high=times.high - 1)
    return Value(
        name="throughput.texts_per_second",
        at={"batch": batch, "length": 128},
        unit="texts/s",
        better="higher",
        baseline=baseline,
        candidate=candidate,
        difference=change,
        ratio=times,
        protocol=SPEED_PROTOCOL,
    )


def quality(name: str, before: float, after: float, low: float, high: float) -> Value:
    return Value(
        name=name,
        data="docs",
        better="higher",
        baseline=interval(before, 0.05),
        candidate=interval(after, 0.05),
        difference=Interval(value=after / before - 1, low=low, high=high),
        protocol=QUALITY_PROTOCOL,
    )


def exactly(name: str, unit: str, before: float, after: float) -> Value:
    return cost(name, unit, Interval.exactly(before), Interval.exactly(after), protocol={"files": "model/"})


def parity(step: str, mean: float, least: float, error: float) -> StepParity:
    def one(name: str, value: float, better: Direction) -> Value:
        return Value(name=f"parity.{name}", better=better, candidate=interval(value, 0))

    values = [
        one("cosine_mean", mean, "higher"),
        one("cosine_min", least, "higher"),
        one("max_error", error, "lower"),
    ]
    return StepParity(step=step, reference="the input", values=values)


def recovery(step: str, stage: str, value: Value) -> StepRecovery:
    return StepRecovery(step=step, stage=stage, values=[value])
