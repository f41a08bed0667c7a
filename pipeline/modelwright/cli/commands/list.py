"""List the artifacts: versions, labels, what they are."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, TypedDict

from modelwright.cli.options import add_artifacts
from modelwright.cli.output import say, table
from modelwright.errors import RecipeError

if TYPE_CHECKING:
    from modelwright.artifact.shelf import Shelf


class Entry(TypedDict):
    """One version, as `--json` prints it; what a damaged one does not tell is null."""

    name: str
    version: int
    labels: list[str]
    format: str | None
    bytes: int | None
    created: str | None
    digest: str | None
    validated: bool | None
    path: str
    damage: str | None


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
    if args.name and not shelf.versions(args.name):
        shelf.find(args.name)  # raises, naming what there is
    entries = [_entry(shelf, name, version) for name, version in shelf if args.name in (None, name)]
    if args.json:
        say(json.dumps(entries, indent=2))
    elif not entries:
        say(f"no artifacts in {shelf.root}")
    else:
        rows = [
            [
                entry["name"],
                str(entry["version"]),
                ", ".join(entry["labels"]) or "-",
                entry["format"] or "damaged",
                "-" if entry["bytes"] is None else disk(entry["bytes"]),
                entry["created"] or "-",
                "" if entry["validated"] is not False else "built, not run",
            ]
            for entry in entries
        ]
        say(table(["name", "version", "labels", "format", "size", "created", ""], rows))
    return 0


def _entry(shelf: Shelf, name: str, version: int) -> Entry:
    entry = Entry(
        name=name,
        version=version,
        labels=sorted(label for label, number in shelf.labels(name).items() if number == version),
        format=None,
        bytes=None,
        created=None,
        digest=None,
        validated=None,
        path=str(shelf.root / name / str(version)),
        damage=None,
    )
    try:
        artifact = shelf.find(name, version)
        entry["format"] = artifact.model.spec.format
        entry["validated"] = artifact.validated
    except RecipeError as error:
        entry["damage"] = error.what
        return entry
    entry["bytes"] = sum(facts.size for facts in artifact.manifest.files.values())
    entry["created"] = artifact.manifest.created
    entry["digest"] = artifact.manifest.model_digest
    return entry
