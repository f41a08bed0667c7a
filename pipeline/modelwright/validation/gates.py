"""Judges gates: by the pessimistic end of an interval, and closed when nothing was measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from modelwright.api.metric import Value
from modelwright.recipe.schema import Amount, Gate
from modelwright.report.model import GateResult
from modelwright.report.units import NARROW, quantity

TIMES = ("s", "ms", "us", "µs")


def judge(
    gates: Mapping[str, Gate], values: Sequence[Value], allow_unmeasured: bool = False
) -> list[GateResult]:
    """The result of each gate, in the order of the recipe; a gate with several conditions is several.

    With `allow_unmeasured` one of which there is no figure is excused.
    """
    return [result for name, gate in gates.items() for result in _judge(name, gate, values, allow_unmeasured)]


def _judge(name: str, gate: Gate, values: Sequence[Value], allow_unmeasured: bool) -> Iterable[GateResult]:
    found = [value for value in values if _matches(gate, value)]
    for condition, limit in gate.conditions.items():
        label = name if len(gate.conditions) == 1 else f"{name}.{condition}"
        asked = f"{gate.metric}{_at(gate.at)} {_in_words(condition, limit, found)}"
        if len(found) != 1:
            reason = _not_measured(gate, found, values)
            yield GateResult(
                name=label,
                metric=gate.metric,
                at=gate.at,
                asked=asked,
                measured=None,
                passed=False,
                excused=allow_unmeasured and not found,
                reason=reason,
            )
            continue
        excused = False
        measured, passed, unit = _compare(condition, limit, found[0])
        if contradiction := _contradiction(condition, found[0]):
            measured, passed, reason = None, False, contradiction
        elif measured is None:
            reason = "not measured: there is no baseline figure to compare with"
            excused = allow_unmeasured
        else:
            reason = _how_judged(found[0])
        yield GateResult(
            name=label,
            metric=gate.metric,
            at=gate.at,
            asked=asked,
            measured=measured,
            unit=unit,
            passed=passed,
            excused=excused,
            reason=reason,
        )


def _how_judged(value: Value) -> str:
    if value.candidate.low == value.candidate.high and value.difference is None:
        return "an exact figure"
    noise = " (noisy: its interval is wide)" if value.noisy else ""
    return f"the pessimistic end of its 95 % interval{noise}"


def _matches(gate: Gate, value: Value) -> bool:
    return (
        value.name == gate.metric
        and all(str(value.at.get(key)) == str(wanted) for key, wanted in gate.at.items())
        and gate.data in (None, value.data)
    )


def _compare(condition: str, limit: float | Amount, value: Value) -> tuple[float | None, bool, str]:
    """What is judged, whether it holds, and its unit (`x` a ratio, `%` a share)."""
    if isinstance(limit, Amount):
        return _compare_change(condition, limit, value)
    if condition in ("at_least", "at_most"):
        low, high = value.candidate.low, value.candidate.high
        return (
            (low, low >= limit, value.unit) if condition == "at_least" else (high, high <= limit, value.unit)
        )
    if value.ratio is None:
        return None, False, "x"
    return value.ratio.low, value.ratio.low >= limit, "x"


def _contradiction(condition: str, value: Value) -> str | None:
    """Why a condition makes no sense for a figure; such a gate would guard nothing."""
    if condition == "drop_at_most" and value.better != "higher":
        return f"not judged: a drop of {value.name} is no loss; use rise_at_most"
    if condition == "rise_at_most" and value.better != "lower":
        return f"not judged: a rise of {value.name} is no loss; use drop_at_most"
    if condition == "faster_by" and value.unit not in TIMES and not value.unit.endswith("/s"):
        return f"not judged: {value.name} is no time and no rate; faster_by is for those"
    if condition == "smaller_by" and value.unit != "bytes":
        return f"not judged: {value.name} is not in bytes; smaller_by is for those"
    return None


def _compare_change(condition: str, limit: Amount, value: Value) -> tuple[float | None, bool, str]:
    if value.difference is None or value.baseline is None:
        return None, False, ""
    worst = -value.difference.low if condition == "drop_at_most" else value.difference.high
    if limit.relative:
        return worst, worst <= limit.value, "%"
    absolute = worst * abs(value.baseline.value)
    return absolute, absolute <= limit.value, value.unit


def _not_measured(gate: Gate, found: Sequence[Value], values: Sequence[Value]) -> str:
    if found:
        places = "; ".join(_at(value.at).strip() or str(value.data) for value in found)
        return f"not judged: {len(found)} figures match ({places}); name one with at: or data:"
    others = sorted({_at(value.at).strip() for value in values if value.name == gate.metric})
    measured = f"; measured {', '.join(others)}" if any(others) else ""
    return f"not measured{measured}"


def _at(at: Mapping[str, int | str]) -> str:
    return f" at {', '.join(f'{key} {value}' for key, value in at.items())}" if at else ""


def _in_words(condition: str, limit: float | Amount, found: Sequence[Value]) -> str:
    if isinstance(limit, Amount):
        return f"{condition.replace('_at_most', 's')} at most {limit}"
    if condition in ("at_least", "at_most"):
        written = quantity(limit, found[0].unit if found else "").replace(NARROW, " ")
        return f"{condition.replace('_', ' ')} {written}"
    return f"at least {limit:g} times {'faster' if condition == 'faster_by' else 'smaller'}"
