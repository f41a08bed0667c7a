"""Remove finished steps and observations that were not used for long. Artifacts are never touched."""

from __future__ import annotations

import argparse

from modelwright.cli.options import add_places, not_negative
from modelwright.cli.output import say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How old."""
    parser.add_argument(
        "--older-than",
        type=not_negative,
        default=30.0,
        metavar="DAYS",
        help="keep what was used since (30 days; 0: all goes)",
    )
    add_places(parser)


def run(args: argparse.Namespace) -> int:
    """Remove, and say how much."""
    from modelwright.report.units import disk
    from modelwright.store.workspace import Workspace

    store = Workspace.locate(args.artifacts, args.store).store
    removed, freed = store.remove_unused(args.older_than)
    say(f"removed {removed} entries, {disk(freed)}, from {store.root}")
    return 0
