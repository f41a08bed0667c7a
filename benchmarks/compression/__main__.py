"""What compression keeps of the models that the recipes use, one table for each kind.

    python -m benchmarks.compression --table sparse --table bits

Python's documentation judges, by a split that calibrated and trained nothing. What stands in `--work` is
taken from there.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.compression import classifiers, encoders, language, memory, resumed, structured
from benchmarks.record import heading, write
from benchmarks.turns.machine import cpu_model
from modelwright.api.target import available_cpus

WORK = Path.home() / ".cache" / "modelwright" / "benchmarks" / "compression"
TABLES = {
    **language.TABLES,
    "structured": structured.TABLE,
    "encoder": encoders.TABLE,
    "classifier": classifiers.TABLE,
    "memory": memory.TABLE,
    "resumed": resumed.TABLE,
}


def main(argv: list[str] | None = None) -> int:
    """Make, measure, and write `compression-TABLE.json` and `.md`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compression")
    parser.add_argument("--table", action="append", choices=list(TABLES), help="default: all of them")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder for the results")
    parser.add_argument("--work", type=Path, default=WORK, help="where models are kept")
    arguments = parser.parse_args(argv)
    for name in arguments.table or TABLES:
        table = TABLES[name]
        document = {
            **heading("compression", ["--table", name]),
            "table": name,
            "cpu": cpu_model(),
            "threads": available_cpus(),
            "rows": table.measure(arguments.work),
        }
        page = [
            f"# {table.title}",
            "",
            f"{document['date']} · {document['cpu']}, threads: {document['threads']} · "
            f"`{document['command']}`",
            "",
            *table.lines(document["rows"]),
        ]
        print(write(document, "\n".join(page) + "\n", arguments.out, f"compression-{name}"))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
