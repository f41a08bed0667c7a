"""What a table of compression is: rows measured, and lines that show them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from modelwright.api.metric import Interval

Row = dict[str, Any]


class Table(NamedTuple):
    """`measure` finds the rows, with models kept in the folder it is given; `lines` shows them."""

    title: str
    measure: Callable[[Path], list[Row]]
    lines: Callable[[Sequence[Row]], list[str]]


def grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(cells)} |" for cells in lines]


def change(row: Row, key: str = "change") -> str:
    """A difference as a share, with its interval; nothing for the row that others are compared with."""
    found = row[key]
    return f"{found['value']:+.1%} ({found['low']:+.1%} … {found['high']:+.1%})" if found else ""


def dumped(interval: Interval | None) -> dict[str, Any] | None:
    """An interval as plain data."""
    return interval.model_dump() if interval else None
