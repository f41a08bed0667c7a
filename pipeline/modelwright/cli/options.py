"""Arguments that several commands share."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import NamedTuple

from modelwright.errors import RecipeError


class RecipeArguments(NamedTuple):
    """A recipe as the command line names it."""

    source: str | None
    overrides: list[str]


def add_recipe(parser: argparse.ArgumentParser) -> None:
    """The recipe and its overrides."""
    parser.add_argument(
        "recipe",
        nargs="*",
        metavar="RECIPE|OVERRIDE",
        help="a YAML file or recipe=NAME, then overrides such as stages.quantize.per_channel=false, "
        "~stages.compile, model=local model.path=./checkpoint",
    )


def recipe_of(args: argparse.Namespace) -> RecipeArguments:
    """Tell the recipe's path from the overrides."""
    overrides = [text for text in args.recipe if "=" in text or text.startswith(("~", "+"))]
    sources = [text for text in args.recipe if text not in overrides]
    # A path may hold an equals sign; an override's key may not hold a slash before it.
    for text in list(overrides):
        if text.endswith(".yaml") and "/" in text.partition("=")[0]:
            overrides.remove(text)
            sources.append(text)
    if len(sources) > 1:
        raise RecipeError(
            f"Several recipes are given: {', '.join(sources)}.",
            accepted="one recipe; everything else is KEY=VALUE, +KEY=VALUE or ~KEY",
        )
    return RecipeArguments(sources[0] if sources else None, overrides)


def add_places(parser: argparse.ArgumentParser) -> None:
    """Where artifacts and the store lie."""
    parser.add_argument(
        "--artifacts", type=Path, metavar="DIR", help="artifacts folder (MODELWRIGHT_ARTIFACTS, ./artifacts)"
    )
    parser.add_argument(
        "--store",
        type=Path,
        metavar="DIR",
        help="store of finished steps (MODELWRIGHT_STORE, ARTIFACTS/.store)",
    )


def add_artifacts(parser: argparse.ArgumentParser) -> None:
    """Where artifacts lie."""
    parser.add_argument(
        "--artifacts", type=Path, metavar="DIR", help="artifacts folder (MODELWRIGHT_ARTIFACTS, ./artifacts)"
    )


def not_negative(text: str) -> float:
    """The `type` of an argument that is a finite number of at least 0."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        raise argparse.ArgumentTypeError(f"'{text}' is no number of at least 0")
    return number
