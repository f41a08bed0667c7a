"""Compare two artifacts or runs: what changed, and whether B would still pass A's gates.

  modelwright compare minilm-int8/1 minilm-int8/2

Exits 1 when a figure of B fails a gate of A's recipe.
"""

from __future__ import annotations

import argparse

from modelwright.cli.options import add_artifacts
from modelwright.cli.output import say, table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The two."""
    parser.add_argument("a", help="NAME/VERSION, or a folder with a report.json")
    parser.add_argument("b", help="the same; judged by the gates of A")
    add_artifacts(parser)


def run(args: argparse.Namespace) -> int:
    """Print the differences; 1 when B regresses past a gate."""
    from modelwright.cli.reports import find_report
    from modelwright.report.units import quantity
    from modelwright.validation.comparison import changed_parameters, changed_values, gates_of
    from modelwright.validation.gates import judge

    (a, folder), (b, _) = find_report(args.a, args.artifacts), find_report(args.b, args.artifacts)
    parameters = changed_parameters(a, b)
    if parameters:
        say(table(["parameter", "A", "B"], parameters) + "\n")
    say(table(["figure", "A", "B", "B relative to A"], changed_values(a, b)) or "no figures in common")
    if a.environment.hardware != b.environment.hardware:
        say("\nnote: measured on different machines; times are not comparable")
    gates = gates_of(folder)
    # What A itself was not measured by is no regression of B.
    open_in_a = {result.name for result in judge(gates, a.values) if result.measured is None}
    failed = [
        result
        for result in judge(gates, b.values)
        if not result.passed and not (result.measured is None and result.name in open_in_a)
    ]
    for result in failed:
        measured = quantity(result.measured, result.unit)
        say(f"\nregression: B fails A's gate '{result.name}': {result.asked}; {measured}")
    if open_in_a:
        say(f"\nnote: A was not measured by {', '.join(sorted(open_in_a))}")
    if not failed:
        say("\nB passes every gate that A was measured by" if open_in_a else "\nB passes every gate of A")
    return 1 if failed else 0
