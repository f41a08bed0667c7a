"""List the stages, or explain one: its parameters, defaults and documentation."""

from __future__ import annotations

import argparse
import inspect

from modelwright.cli.output import say, table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which stage."""
    parser.add_argument("name", nargs="?", help="explain this stage")


def run(args: argparse.Namespace) -> int:
    """Print them."""
    from modelwright.registry import Registry

    stages = Registry.load().stages
    if not args.name:
        rows = []
        for name in stages:
            stage = stages[name]
            missing = ", ".join(stage.missing())
            state = f"needs {missing}" if missing else "ready"
            rows.append([name, f"{stage.takes} → {stage.gives}", stage.fidelity, state, stage.summary()])
        say(table(["stage", "formats", "fidelity", "here", "what it does"], rows))
        return 0
    stage = stages.find(args.name, "modelwright stages")
    say(f"{stage.name}: {stage.takes} → {stage.gives}, {stage.fidelity}")
    distribution = stages.distribution(stage.name)
    say(f"from {distribution.name} {distribution.version}\n")
    say(inspect.cleandoc(stage.__doc__ or ""))
    rows = []
    for key, field in stage.model_fields.items():
        default = "required" if field.is_required() else repr(field.default)
        kind = getattr(field.annotation, "__name__", None) or str(field.annotation)
        kind = str(field.annotation) if "[" in str(field.annotation) else kind
        rows.append([key, kind.replace("typing.", ""), default, field.description or ""])
    say()
    say(table(["parameter", "type", "default", "meaning"], rows) or "no parameters")
    return 0
