"""Run a recipe: steps, validation, gates, release.

modelwright run recipe=encoder-int8
modelwright run ./my.yaml target.threads=4
modelwright run -m recipe=encoder-int8 stages.quantize.per_channel=true,false
"""

from __future__ import annotations

import argparse

from modelwright.cli.options import add_places, add_recipe, recipe_of
from modelwright.cli.output import say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The recipe, places, and how to run."""
    add_recipe(parser)
    add_places(parser)
    parser.add_argument(
        "-m", "--multirun", action="store_true", help="sweep: run every combination of a,b values"
    )
    parser.add_argument(
        "--no-bench",
        action="store_true",
        help="measure nothing; ends well only where an identical version has evidence from this hardware",
    )


def run(args: argparse.Namespace) -> int:
    """Run it; 0 published, 1 rejected."""
    source, overrides = recipe_of(args)
    if args.multirun:
        from modelwright.cli.sweep import run_sweep

        return run_sweep(source, overrides, args.artifacts, args.store, bench=not args.no_bench)
    from modelwright.cli.watch import watcher
    from modelwright.main import run as run_recipe

    listener = watcher()
    try:
        result = run_recipe(
            source,
            overrides,
            artifacts=args.artifacts,
            store=args.store,
            bench=not args.no_bench,
            listener=listener,
        )
    finally:
        listener.stop()
    verdict = result.report.verdict
    candidate = result.report.candidate
    if candidate and (note := candidate.runtime.get("note")):
        say(f"note: {note}")
    if verdict == "released":
        say(f"released version {result.report.version}: {result.artifact}")
    elif verdict == "built":
        say(f"built, not run: version {result.report.version}, not validated: {result.artifact}")
    elif verdict == "unchanged":
        say(f"unchanged: version {result.report.version} already is this model: {result.artifact}")
    else:
        say("rejected: a gate failed, nothing was published")
    say(f"report: {result.run_folder / 'report.html'}")
    return result.exit_code
