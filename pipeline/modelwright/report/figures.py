"""A figure in words: its name, its conditions, its numbers, and what the change means."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

from modelwright.api.metric import Interval, Value
from modelwright.report import units
from modelwright.report.model import GateResult

Group = Literal["Quality", "Speed", "Memory", "Size", "Other"]
GROUPS: tuple[Group, ...] = ("Quality", "Speed", "Memory", "Size", "Other")

_ACRONYMS = {word.lower(): word for word in ("MRR", "nDCG", "KL", "KV", "RSS", "F1", "CUDA", "GPU")}


class Shown(NamedTuple):
    """An interval as text: the value with its unit, and the ends (empty where they are equal)."""

    value: str
    interval: str


def title(name: str) -> str:
    """A figure's name as a label: `latency.p50` is `Latency p50`."""
    words = name.replace(".", " ").replace("_", " ").split()
    words = [_ACRONYMS.get(word, word) for word in words]
    return " ".join([words[0][:1].upper() + words[0][1:], *words[1:]]) if words else name


def short_title(name: str) -> str:
    """A figure's name without its metric's, where that is plain from the context: `Cosine mean`."""
    return title(name.partition(".")[2] or name)


def conditions(at: Mapping[str, int | str]) -> str:
    """Where a figure was taken: `batch 1 × 128 tokens`."""
    rest = [f"{key.replace('_', ' ')} {item}" for key, item in at.items() if key not in ("batch", "length")]
    shape = []
    if "batch" in at:
        shape.append(f"batch {at['batch']}")
    if "length" in at:
        shape.append(f"{at['length']} {units.noun(float(at['length']), 'tokens')}")
    return ", ".join(([" × ".join(shape)] if shape else []) + rest)


def label(value: Value) -> str:
    """A figure with its conditions and data: `Latency p50, batch 1 × 128 tokens`."""
    return ", ".join(filter(None, (title(value.name), conditions(value.at), value.data)))


def group_of(value: Value) -> Group:
    """Which part of the report a figure belongs to, by its unit; quality is what was measured on data."""
    if value.unit in ("bytes", "byte", "B", "KiB", "MiB", "GiB"):
        return "Memory" if is_memory(value.name) else "Size"
    if value.unit in ("s", "seconds", "ms", "us", "µs") or value.unit.endswith("/s"):
        return "Speed"
    return "Quality" if value.data else "Other"


def is_memory(name: str) -> bool:
    """Whether the figure of this name counts memory rather than disk."""
    return any(word in name for word in ("memory", "rss", "vram", "cuda", "peak", "cache"))


def shown(interval: Interval, unit: str, *, binary: bool = False) -> Shown:
    """An interval as text; all of it in the unit that suits its value."""
    scale = units.scale_of(interval.value, unit, binary=binary)
    return Shown(
        scale.text(interval.value), _ends(scale.bare(interval.low), scale.bare(interval.high), interval)
    )


def of_value(value: Value, side: Literal["baseline", "candidate"]) -> Shown | None:
    """The baseline's or the candidate's figure as text; None where there is no baseline."""
    interval = value.baseline if side == "baseline" else value.candidate
    return None if interval is None else shown(interval, value.unit, binary=is_memory(value.name))


def change(value: Value) -> Shown | None:
    """The difference relative to the baseline, in percent: `−0.7 %`; None where there is none."""
    found = value.difference
    if found is None:
        return None
    scale = units.scale_of(found.value, "%")
    low, high = (_signed(scale.bare(end), end) for end in (found.low, found.high))
    return Shown(_signed(scale.text(found.value), found.value), _ends(low, high, found))


def kept(value: Value) -> Interval | None:
    """The share of the baseline's figure that is left, of a figure that is better lower its inverse."""
    if value.baseline is None or not value.baseline.value or not value.candidate.value:
        return None
    share = value.candidate.value / value.baseline.value
    low = high = share
    if value.difference is not None:
        low, high = 1 + value.difference.low, 1 + value.difference.high
    if value.better == "lower":
        share, low, high = 1 / share, 1 / high if high > 0 else math.inf, 1 / low if low > 0 else math.inf
    return Interval(value=share, low=low, high=high)


def meaning(value: Value) -> str:
    """What the change means, as far as its interval tells: `better`, `worse`, `equal`, `no clear change`."""
    if value.ratio is not None:
        low, high, middle = value.ratio.low, value.ratio.high, 1.0
    elif value.difference is not None:
        low, high, middle = value.difference.low, value.difference.high, 0.0
        if value.better == "lower":
            low, high = -high, -low
    else:
        return ""
    if low == high == middle:
        return "equal"
    if value.better == "exact":
        return "differs"
    return "better" if low > middle else "worse" if high < middle else "no clear change"


def times(value: Value) -> Shown | None:
    """The ratio with its word: `2.43× faster`, `3.97× smaller`, `1.20× slower`; None without a ratio."""
    found = value.ratio
    if found is None or not all(
        math.isfinite(end) and end > 0 for end in (found.value, found.low, found.high)
    ):
        return None
    better, worse = {
        "Speed": ("faster", "slower"),
        "Size": ("smaller", "larger"),
        "Memory": ("less memory", "more memory"),
        "Quality": ("better", "worse"),
        "Other": ("better", "worse"),
    }[group_of(value)]
    if found.value == found.low == found.high == 1:
        return Shown("equal", "")
    word = better
    if found.value < 1:
        found, word = Interval(value=1 / found.value, low=1 / found.high, high=1 / found.low), worse
    return Shown(f"{units.ratio(found.value)} {word}", _ends(f"{found.low:.2f}", f"{found.high:.2f}", found))


def headline(values: Iterable[Value], gates: Iterable[GateResult]) -> list[Value]:
    """One figure of each main group to lead with: one that a gate asks about, or else the first compared."""
    asked = {(gate.metric, tuple(sorted(gate.at.items()))) for gate in gates}
    chosen: dict[Group, tuple[tuple[bool, bool], Value]] = {}
    for value in values:
        rank = ((value.name, tuple(sorted(value.at.items()))) in asked, value.baseline is not None)
        group = group_of(value)
        if any(rank) and group != "Other" and (group not in chosen or rank > chosen[group][0]):
            chosen[group] = (rank, value)
    return [chosen[group][1] for group in GROUPS if group in chosen]


def asked(gate: GateResult) -> str:
    """What a gate asks, without the metric and the conditions that are shown beside it."""
    at = ", ".join(f"{key} {item}" for key, item in gate.at.items())
    return gate.asked.removeprefix(gate.metric).removeprefix(f" at {at}" if at else "").strip()


def _ends(low: str, high: str, interval: Interval) -> str:
    return "" if interval.low == interval.high else f"{low} to {high}"


def _signed(text: str, value: float) -> str:
    return f"+{text}" if value > 0 and math.isfinite(value) else text
