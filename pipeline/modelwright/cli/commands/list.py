"""List the artifacts: versions, labels, what they are."""

from __future__ import annotations

import argparse
import json

from modelwright.cli.options import add_artifacts
from modelwright.cli.output import say, table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which ones, and in which form."""
    parser.add_argument("name", nargs="?", help="only this artifact's versions")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_artifacts(parser)


def run(args: argparse.Namespace) -> int:
    """Print them."""
    from modelwright.artifact.shelf import Shelf
    from modelwright.report.units import disk
    from modelwright.store.workspace import Workspace

    shelf = Shelf(Workspace.locate(args.artifacts).artifacts)
    if args.name:
        shelf.find(args.name)
    entries = []
    for name, version in shelf:
        if args.name in (None, name):
            artifact = shelf.find(name, version)
            labels = sorted(label for label, number in shelf.labels(name).items() if number == version)
            entries.append(
                {
                    "name": name,
                    "version": version,
                    "labels": labels,
                    "format": artifact.model.spec.format,
                    "bytes": sum(facts.size for facts in artifact.manifest.files.values()),
                    "created": artifact.manifest.created,
                    "digest": artifact.manifest.model_digest,
                    "path": str(artifact.path),
                }
            )
    if args.json:
        say(json.dumps(entries, indent=2))
    elif not entries:
        say(f"no artifacts in {shelf.root}")
    else:
        rows = [
            [
                str(entry["name"]),
                str(entry["version"]),
                ", ".join(entry["labels"]) or "-",  # type: ignore[arg-type]
                str(entry["format"]),
                disk(int(str(entry["bytes"]))),
                str(entry["created"]),
            ]
            for entry in entries
        ]
        say(table(["name", "version", "labels", "format", "size", "created"], rows))
    return 0
