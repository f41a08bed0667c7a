"""Measure an artifact on this machine: speed and memory, beside its baseline where that is here too.

modelwright bench minilm-int8
modelwright bench minilm-int8/3 --threads 4
"""

from __future__ import annotations

import argparse
import sys

from modelwright.cli.options import add_artifacts
from modelwright.cli.output import say, table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which artifact, on how many threads."""
    parser.add_argument("artifact", help="NAME, NAME/VERSION or a folder")
    parser.add_argument("--threads", type=int, help="threads to pin; the manifest's by default")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    add_artifacts(parser)


def run(args: argparse.Namespace) -> int:
    """Measure and print."""
    import json

    from modelwright.artifact.shelf import Shelf
    from modelwright.engine.bench import bench_artifact
    from modelwright.report.figures import conditions, shown
    from modelwright.store.workspace import Workspace

    artifact = Shelf(Workspace.locate(args.artifacts).artifacts).resolve(args.artifact)
    quiet = args.json
    result = bench_artifact(artifact, args.threads, say=lambda text: None if quiet else say(f"  {text}"))
    for key, why in result.left_out.items():
        print(f"{key} is left out: {why}", file=sys.stderr)  # noqa: T201
    if args.json:
        say(json.dumps([value.model_dump(mode="json") for value in result.values], indent=2))
        return 0
    if result.baseline is None:
        say(f"  no baseline: {result.why_no_baseline}")
    rows = [
        [
            value.name,
            conditions(value.at) or "-",
            shown(value.baseline, value.unit).value if value.baseline else "-",
            " ".join(shown(value.candidate, value.unit)),
            " ".join(shown(value.ratio, "x")) if value.ratio else "-",
            "noisy" if value.noisy else "",
        ]
        for value in result.values
    ]
    say(table(["figure", "at", "baseline", "artifact", "times better", ""], rows))
    return 0
