"""What the result files of every benchmark have in common."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


def heading(benchmark: str, arguments: Sequence[str] | None) -> dict[str, Any]:
    """The benchmark's name, the moment, and the command; `arguments` None means those of this process.

    >>> heading("decode", ["--shape", "135m"])["command"]
    'python -m benchmarks.decode --shape 135m'
    """
    given = sys.argv[1:] if arguments is None else arguments
    return {
        "benchmark": benchmark,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "-m", f"benchmarks.{benchmark}", *given]),
    }


def write(document: dict[str, Any], page: str, out: Path, name: str) -> str:
    """Write `name`.json and its page `name`.md into the folder `out`; returns the page."""
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(document, indent=1, ensure_ascii=False)
    (out / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    (out / f"{name}.md").write_text(page, encoding="utf-8")
    return page
