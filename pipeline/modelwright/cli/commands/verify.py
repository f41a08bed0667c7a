"""Check artifacts: every file against the manifest, and with --run the outputs against the recorded ones.

modelwright verify minilm-int8
modelwright verify --run path/to/a/copied/artifact
"""

from __future__ import annotations

import argparse

from modelwright.cli.options import add_artifacts
from modelwright.cli.output import say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which artifacts, and how deeply."""
    parser.add_argument("artifact", nargs="*", help="NAME, NAME/VERSION or a folder; all of them by default")
    parser.add_argument("--run", action="store_true", help="also run the model and compare with samples.json")
    parser.add_argument(
        "--tolerance", type=float, default=1e-3, help="largest absolute difference --run accepts (0.001)"
    )
    add_artifacts(parser)


def run(args: argparse.Namespace) -> int:
    """Verify; 1 when anything is wrong."""
    from modelwright.artifact.artifact import SAMPLES_FILE
    from modelwright.artifact.shelf import Shelf
    from modelwright.store.workspace import Workspace
    from modelwright.validation.samples import Samples

    shelf = Shelf(Workspace.locate(args.artifacts).artifacts)
    names = args.artifact or [f"{name}/{version}" for name, version in shelf]
    if not names:
        say(f"no artifacts in {shelf.root}")
    damaged = False
    for name in names:
        artifact = shelf.resolve(name)
        problems = artifact.verify()
        for problem in problems:
            say(f"{artifact.path}: {problem.file} {problem.what}")
        if problems:
            damaged = True
            continue
        say(f"{artifact.path}: {len(artifact.manifest.files)} files intact")
        if args.run:
            samples = Samples.model_validate_json((artifact.path / SAMPLES_FILE).read_bytes())
            deviation = samples.deviation(artifact.runner())
            damaged |= deviation > args.tolerance
            verdict = "differ from" if deviation > args.tolerance else "equal"
            say(f"{artifact.path}: outputs {verdict} the recorded ones (largest difference {deviation:.2g})")
    return 1 if damaged else 0
