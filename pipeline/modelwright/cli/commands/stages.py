"""List the stages, or explain one: its parameters, defaults and documentation."""

from __future__ import annotations

import argparse
import inspect
from types import UnionType
from typing import Annotated, Literal, Union, get_args, get_origin

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
        rows.append([key, _type_name(field.annotation), default, field.description or ""])
    say()
    say(table(["parameter", "type", "default", "meaning"], rows) or "no parameters")
    return 0


def _type_name(annotation: object) -> str:
    """A type without what it is validated by: `tuple[str, ...]`, `int | None`, `Literal['a', 'b']`."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type_name(parts[0])
    if origin in (Union, UnionType):
        return " | ".join(map(_type_name, parts))
    if origin is None or origin is Literal:
        named = annotation.__name__ if isinstance(annotation, type) else str(annotation)
        return {"NoneType": "None", "Ellipsis": "..."}.get(named, named).replace("typing.", "")
    return f"{origin.__name__}[{', '.join(map(_type_name, parts))}]"
