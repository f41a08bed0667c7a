"""Check artifacts: every file against the manifest, and with --run the outputs against the recorded ones.

modelwright verify minilm-int8
modelwright verify --run path/to/a/copied/artifact
"""

from __future__ import annotations

import argparse
from pathlib import Path

from modelwright.cli.options import add_artifacts, not_negative
from modelwright.cli.output import say
from modelwright.errors import MissingError, ModelwrightError, RecipeError

INTACT, DAMAGED = 0, 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which artifacts, and how deeply."""
    parser.add_argument("artifact", nargs="*", help="NAME, NAME/VERSION or a folder; all of them by default")
    parser.add_argument("--run", action="store_true", help="also run the model and compare with samples.json")
    parser.add_argument(
        "--tolerance",
        type=not_negative,
        default=1e-3,
        help="largest absolute difference --run accepts (0.001)",
    )
    add_artifacts(parser)


def run(args: argparse.Namespace) -> int:
    """Verify; 1 when anything is wrong, 4 when --run could not run all. Raises MissingError without any."""
    from modelwright.artifact.shelf import Shelf
    from modelwright.store.workspace import Workspace

    shelf = Shelf(Workspace.locate(args.artifacts).artifacts)
    names = args.artifact or [f"{name}/{version}" for name, version in shelf]
    if not names:
        raise MissingError(
            "There is nothing to verify.",
            where=str(shelf.root),
            hint="name an artifact's folder, or the folder that holds artifacts: --artifacts DIR",
        )
    folders = [_existing(shelf.locate(name)) for name in names]  # a wrong name is told before any hashing
    codes = [_verify(folder, args.tolerance if args.run else None) for folder in folders]
    return DAMAGED if DAMAGED in codes else max(codes)


def _existing(folder: Path) -> Path:
    if not folder.is_dir():
        raise RecipeError("There is no such folder.", where=str(folder), accepted="artifacts/NAME/VERSION")
    return folder


def _verify(folder: Path, tolerance: float | None) -> int:
    """Say what is wrong with one artifact, if anything; its exit code. None for `tolerance` runs nothing."""
    from modelwright.artifact.artifact import Artifact

    try:
        artifact = Artifact.open(folder)
    except RecipeError as error:
        say(f"{folder}: {error.what} ({error.where})")
        return DAMAGED
    problems = artifact.verify()
    for problem in problems:
        say(f"{artifact.path}: {problem.file} {problem.what}")
    if problems:
        return DAMAGED
    say(f"{artifact.path}: {len(artifact.manifest.files)} files intact")
    if tolerance is None:
        return INTACT
    if not artifact.validated:
        say(f"{artifact.path}: no outputs were recorded to compare with: the model was built, not run")
        return MissingError.exit_code
    try:
        deviation = artifact.samples.deviation(artifact.runner())
    except MissingError as error:
        say(f"{artifact.path}: not run: {error}")
        return MissingError.exit_code
    except ModelwrightError as error:
        say(f"{artifact.path}: does not run: {error}")
        return DAMAGED
    equal = deviation <= tolerance  # false for NaN
    verdict = "equal" if equal else "differ from"
    say(f"{artifact.path}: outputs {verdict} the recorded ones (largest difference {deviation:.2g})")
    return INTACT if equal else DAMAGED
