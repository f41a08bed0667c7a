"""What a step recorded, laid out: tables, pairs and curves out of plain JSON data."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TypeGuard

from pydantic import JsonValue

from modelwright.report import units

MAX_ROWS = 200
MAX_TEXT = 20_000
FEWEST_POINTS = 3  # fewer numbers than this read better as text than as a curve

Scalar = str | int | float | bool | None


@dataclass(frozen=True)
class Text:
    """One value as text."""

    text: str
    numeric: bool = False


@dataclass(frozen=True)
class Table:
    """Rows of cells under named columns; `left_out` rows are not shown."""

    columns: list[str]
    numeric: list[bool]
    rows: list[list[str]]
    left_out: int


@dataclass(frozen=True)
class Pairs:
    """Named values, each laid out in turn."""

    items: list[tuple[str, Layout]]


@dataclass(frozen=True)
class Curve:
    """Numbers in their order."""

    numbers: list[float]


Layout = Text | Table | Pairs | Curve


def lay_out(value: JsonValue, key: str = "") -> Layout:
    """The layout that suits a value; `key`, its name, may tell its unit (`peak_bytes`, `seconds`)."""
    if isinstance(value, dict):
        return Pairs([(name, lay_out(item, name)) for name, item in value.items()]) if value else Text("none")
    if isinstance(value, list):
        if not value:
            return Text("none")
        if _all_dicts(value):
            return _table(value)
        if _all_numbers(value) and len(value) >= FEWEST_POINTS:
            return Curve([float(number) for number in value])
        return Text(_cut(", ".join(cell(item) for item in value)))
    return Text(_cut(cell(value, key)), _is_number(value))


def cell(value: JsonValue, key: str = "") -> str:
    """A value as short text."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return _number(value, key)
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def literal(value: JsonValue) -> str:
    """A parameter as the recipe would write it."""
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


def _table(rows: list[dict[str, JsonValue]]) -> Table:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    return Table(
        columns,
        [all(_is_number(row[column]) for row in rows if row.get(column) is not None) for column in columns],
        [[cell(row.get(column), column) for column in columns] for row in rows[:MAX_ROWS]],
        max(0, len(rows) - MAX_ROWS),
    )


def _number(value: float, key: str) -> str:
    if key.endswith("bytes"):
        return (
            units.memory(value)
            if any(word in key for word in ("memory", "peak", "rss"))
            else units.disk(value)
        )
    if key.endswith(("seconds", "_s")):
        return units.quantity(value, "s")
    if key.endswith("_ms"):
        return units.quantity(value, "ms")
    return units.number(value)


def _is_number(value: JsonValue) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _all_numbers(values: list[JsonValue]) -> TypeGuard[list[float]]:
    return all(_is_number(value) for value in values)


def _all_dicts(values: list[JsonValue]) -> TypeGuard[list[dict[str, JsonValue]]]:
    return all(isinstance(value, dict) for value in values)


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + " … (cut; report.json has all of it)"
