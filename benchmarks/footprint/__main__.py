"""Compare the memory that the plan predicts for each step with the peak that the step had.

    python -m benchmarks.footprint --shape 135m --shape 1100m

Each step runs in a process of its own on a Llama of that shape with random weights; its peak is the largest
resident set that the process had. Steps that stand in `--work` are shown and not run again.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from benchmarks.footprint.chains import CHAINS, DOCS
from benchmarks.models.shape import SHAPES, write_checkpoint
from benchmarks.models.steps import run_stages
from benchmarks.record import heading, write
from benchmarks.turns.machine import cpu_model
from modelwright.errors import ModelwrightError

WORK = Path.home() / ".cache" / "modelwright" / "benchmarks" / "footprint"
ALLOWED = 0.2


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.footprint", description="Predicted and measured memory of each step."
    )
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder for the results")
    parser.add_argument("--shape", action="append", choices=sorted(SHAPES), help="default: all of them")
    parser.add_argument("--chain", action="append", choices=list(CHAINS), help="default: all of them")
    parser.add_argument("--work", type=Path, default=WORK, help="where checkpoints and models are kept")
    return parser.parse_args(argv)


def rows(shape: str, chains: list[str], work: Path) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Each step once, and why chains are missing."""
    model = write_checkpoint(shape, work)
    found: dict[str, dict[str, Any]] = {}
    missing: dict[str, str] = {}
    for name in chains:
        print(f"{shape}: {name} ...", flush=True)
        data = {"docs": DOCS} if any("data" in stage for stage in CHAINS[name].values()) else None
        try:
            results = run_stages(CHAINS[name], model, work / f"{shape}-models", data).results
        except ModelwrightError as error:
            missing[f"{shape}, {name}"] = str(error)
            continue
        for result in results:
            found.setdefault(
                result.key,
                {
                    "shape": shape,
                    "chain": name,
                    "stage": result.stage,
                    "predicted": result.predicted_memory,
                    "measured": result.peak_memory,
                    "error": result.predicted_memory / result.peak_memory - 1,
                },
            )
    return list(found.values()), missing


def markdown(document: dict[str, Any]) -> str:
    """The table."""
    within = sum(abs(row["error"]) <= ALLOWED for row in document["rows"])
    lines = [
        "# Memory predicted and measured",
        "",
        f"{document['date']} · {document['cpu']} · `{document['command']}`",
        "",
        f"Peak resident memory of each step's process in MiB. {within} of {len(document['rows'])} steps are "
        f"predicted within {ALLOWED:.0%}.",
        "",
        "| shape | chain | step | predicted | measured | error |",
        "|---|---|---|---|---|---|",
    ]
    for row in document["rows"]:
        predicted, measured = row["predicted"] / 2**20, row["measured"] / 2**20
        error = f"{row['error']:+.0%}"
        shown = f"**{error}**" if abs(row["error"]) > ALLOWED else error
        place = f"{row['shape']} | {row['chain']} | `{row['stage']}`"
        lines.append(f"| {place} | {predicted:,.0f} | {measured:,.0f} | {shown} |")
    lines += ["", *(f"Not here: {name}: {reason}" for name, reason in document["missing"].items())]
    return "\n".join(lines).rstrip() + "\n"


def main(argv: list[str] | None = None) -> int:
    """Run the steps, write `footprint.json` and `footprint.md`. Exit 0 when all are within the margin."""
    arguments = parse(argv)
    found: list[dict[str, Any]] = []
    missing: dict[str, str] = {}
    for shape in arguments.shape or SHAPES:
        more, lacking = rows(shape, arguments.chain or list(CHAINS), arguments.work)
        found += more
        missing |= lacking
    document = {
        **heading("footprint", argv),
        "cpu": cpu_model(),
        "rows": found,
        "missing": missing,
    }
    print(write(document, markdown(document), arguments.out, "footprint"))
    return 0 if all(abs(row["error"]) <= ALLOWED for row in found) and not missing else 1


if __name__ == "__main__":
    raise SystemExit(main())
