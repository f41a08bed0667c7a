"""Point a label at a version: modelwright promote minilm-int8 3 --to production."""

from __future__ import annotations

import argparse

from modelwright.cli.options import add_artifacts
from modelwright.cli.output import say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Name, version, label."""
    parser.add_argument("name", help="the artifact's name; modelwright list shows them")
    parser.add_argument("version", help="a number, or another label")
    parser.add_argument("--to", required=True, metavar="LABEL", help="such as production or staging")
    parser.add_argument(
        "--not-validated", action="store_true", help="also a version that was built and never run"
    )
    add_artifacts(parser)


def run(args: argparse.Namespace) -> int:
    """Verify the version, then move the label."""
    from modelwright.artifact.shelf import Shelf
    from modelwright.store.workspace import Workspace

    shelf = Shelf(Workspace.locate(args.artifacts).artifacts)
    artifact, before = shelf.promote(args.name, args.version, args.to, not_validated=args.not_validated)
    moved = f" (was version {before})" if before not in (None, artifact.manifest.version) else ""
    say(f"{args.name}: {args.to} is version {artifact.manifest.version}{moved}")
    return 0
