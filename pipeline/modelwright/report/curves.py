"""Which figures were taken at enough places to be curves, and what their series are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from modelwright.api.metric import Value
from modelwright.report.curve_charts import Series

FEWEST_PLACES = 3  # fewer compare better as bars


@dataclass(frozen=True)
class Panel:
    """One chart: a figure over one condition that varies, others being fixed."""

    over: str
    fixed: Mapping[str, int | str]
    data: str | None
    series: Sequence[Series]


def panels(values: Sequence[Value]) -> tuple[list[Panel], list[Value]]:
    """The curves among the values of one figure, and the values that make none.

    The axis is the number among the conditions (`at`) with the most places, of several the one written
    last. Other numbers are fixed, a panel for each; conditions in words tell series of a panel apart, as do
    baseline and candidate.
    """
    places: dict[str, set[int]] = {}
    for value in values:
        for key, at in value.at.items():
            if isinstance(at, int):
                places.setdefault(key, set()).add(at)
    axis = max(reversed(places), key=lambda key: len(places[key]), default="")
    groups: dict[tuple[object, ...], list[Value]] = {}
    for value in values:
        if isinstance(value.at.get(axis), int):
            fixed = tuple(_numbers(value, axis).items())
            groups.setdefault((value.data, fixed), []).append(value)
    curved = [group for group in groups.values() if len({value.at[axis] for value in group}) >= FEWEST_PLACES]
    inside = {id(value) for group in curved for value in group}
    return (
        [Panel(axis, _numbers(group[0], axis), group[0].data, _series(group, axis)) for group in curved],
        [value for value in values if id(value) not in inside],
    )


def _numbers(value: Value, axis: str) -> dict[str, int | str]:
    return {key: at for key, at in value.at.items() if key != axis and isinstance(at, int)}


def _series(group: Sequence[Value], axis: str) -> list[Series]:
    by_words: dict[str, list[Value]] = {}
    for value in sorted(group, key=lambda value: int(value.at[axis])):
        words = ", ".join(str(at) for key, at in value.at.items() if key != axis and isinstance(at, str))
        by_words.setdefault(words, []).append(value)
    series = []
    for dash, (words, found) in enumerate(by_words.items()):
        for kind in ("baseline", "candidate"):
            points = [
                (float(value.at[axis]), interval)
                for value in found
                if (interval := value.baseline if kind == "baseline" else value.candidate) is not None
            ]
            if points:
                series.append(Series(f"{kind}, {words}" if words else kind, points, kind, dash))
    return series
