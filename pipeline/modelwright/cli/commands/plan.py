"""Check a recipe and show what a run would do; nothing runs, and torch is not imported.

modelwright plan recipe=encoder-int8
modelwright plan --resolved ./my.yaml
"""

from __future__ import annotations

import argparse

from modelwright.cli.options import add_places, add_recipe, recipe_of
from modelwright.cli.output import say, table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The recipe and what to print of it."""
    add_recipe(parser)
    add_places(parser)
    parser.add_argument(
        "--resolved", action="store_true", help="print the recipe as YAML with every default filled in"
    )


def run(args: argparse.Namespace) -> int:
    """Plan and print."""
    from modelwright.main import plan as plan_recipe
    from modelwright.report.units import disk, memory

    plan = plan_recipe(*recipe_of(args), artifacts=args.artifacts, store=args.store)
    if args.resolved:
        say(plan.recipe.to_yaml().rstrip())
        return 0
    spec = plan.source.spec
    say(f"{plan.recipe.name}: {plan.recipe.text.description}")
    say(
        f"model: {plan.source.path} ({spec.architecture}, task {spec.task}, {spec.dtype}, "
        f"{plan.source_size.parameters:,} parameters, {disk(plan.source_size.weight_bytes)})"
    )
    others = plan.target.model_dump(
        mode="json", exclude_defaults=True, exclude={"device", "threads", "provider"}
    )
    said = "".join(f", {key} {value}" for key, value in others.items())
    say(f"target: {plan.target.device}, {plan.target.thread_count} threads, {plan.target.provider}{said}")
    say()
    rows = [
        [
            step.name,
            step.stage.name,
            f"{step.stage.takes} → {step.stage.gives}",
            step.stage.fidelity,
            memory(step.footprint.memory_bytes),
            disk(step.footprint.disk_bytes),
            "in the store" if step.sealed else "to run",
        ]
        for step in plan.steps
    ]
    say(table(["step", "stage", "formats", "fidelity", "memory", "disk", "state"], rows))
    say()
    say("metrics: " + (", ".join(plan.recipe.metrics) or "(none)"))
    for name, gate in plan.recipe.gates.items():
        conditions = ", ".join(f"{key} {value}" for key, value in gate.conditions.items())
        at = f" at {', '.join(f'{key} {value}' for key, value in gate.at.items())}" if gate.at else ""
        say(f"gate {name}: {gate.metric}{at} {conditions}")
    for note in plan.notes:
        say(f"note: {note}")
    return 0
