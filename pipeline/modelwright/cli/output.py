"""What commands print: text and tables on standard output, for people and for pipes."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from modelwright.report.units import NARROW


def say(text: str = "") -> None:
    """Print one line, with plain spaces only, so that logs can be searched."""
    try:
        print(text.replace(NARROW, " "), flush=True)  # noqa: T201
    except OSError:
        # The reader went away (`modelwright run … | head`) or the disk under it is full; the command goes on
        # to its own exit code.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def complain(text: str) -> None:
    """Print to standard error, with plain spaces only."""
    print(text.replace(NARROW, " "), file=sys.stderr)  # noqa: T201


def is_terminal() -> bool:
    """Whether a person is watching."""
    return sys.stdout is not None and sys.stdout.isatty()


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns; the text of a cell that looks like a number is set to the right."""
    if not rows:
        return ""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    numeric = [all(_is_number(row[i]) for row in rows) for i in range(len(head))]

    def line(row: Sequence[str]) -> str:
        cells = (
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        )
        return "  ".join(cells).rstrip()

    return "\n".join([line(head), line(["-" * width for width in widths]), *map(line, rows)])


def _is_number(text: str) -> bool:
    return text in ("", "-") or text.lstrip("+-−")[:1].isdigit()
