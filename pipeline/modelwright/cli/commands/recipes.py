"""List the recipes that ship with modelwright and its plugins, or print one to start from."""

from __future__ import annotations

import argparse
from pathlib import Path

from modelwright.cli.output import say, table
from modelwright.errors import RecipeError, did_you_mean


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which recipe."""
    parser.add_argument("name", nargs="?", help="print this recipe's YAML")


def run(args: argparse.Namespace) -> int:
    """Print them."""
    from modelwright.recipe.config_groups import available
    from modelwright.registry import Registry

    recipes = available(Registry.load(), "recipe")
    if not args.name:
        say(table(["recipe", "what it makes"], [[name, _summary(file)] for name, file in recipes.items()]))
        return 0
    if args.name not in recipes:
        raise RecipeError(
            f"There is no recipe '{args.name}'.",
            accepted=", ".join(recipes),
            hint=did_you_mean(args.name, recipes),
        )
    say(recipes[args.name].read_text(encoding="utf-8").rstrip())
    return 0


def _summary(file: Path) -> str:
    """The first comment that is no Hydra directive."""
    lines = file.read_text(encoding="utf-8").splitlines()
    comments = (line.lstrip("# ") for line in lines if line.startswith("#") and "@package" not in line)
    return next(comments, "")
