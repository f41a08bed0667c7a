"""Turns what Hydra, OmegaConf and YAML refuse into errors a recipe's author can act on."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import yaml

from modelwright.errors import RecipeError, did_you_mean
from modelwright.recipe.config_groups import GROUPS, available
from modelwright.recipe.origin import Origin
from modelwright.recipe.schema import RECIPE_KEYS
from modelwright.registry import Registry


def explain(error: Exception, registry: Registry, overrides: Sequence[str], file: Path) -> RecipeError:
    """The RecipeError for an error that composing `file` with `overrides` ended in."""
    from hydra.errors import OverrideParseException

    if isinstance(error, yaml.YAMLError):
        return yaml_error(error, file)
    # An override is shown as it was typed, without the `++` that opened it.
    text = str(error).replace("++", "")
    if found := re.search(r"Could not override '([^']+)'", text):
        return _no_key(found[1], overrides, file)
    if found := re.search(r"(?:Could not find|In '[^']*': Could not find) '(?:[^']*/)?(\w+)/([^'/]+)'", text):
        return no_option(found[1], found[2], available(registry, found[1]))
    if isinstance(error, OverrideParseException):
        typed = str(error.override).removeprefix("++")
        return RecipeError(
            f"The override '{typed}' does not parse: {text.partition(chr(10))[0]}.",
            where="the command line",
            accepted="KEY=VALUE, +KEY=VALUE, ~KEY; lists and mappings quoted for the shell: 'KEY={a: 1}'; "
            "odd characters quoted for Hydra: KEY='…'",
        )
    first = text.partition("\nConfig search path")[0].strip()
    key = getattr(error, "full_key", None)
    return RecipeError(
        "The recipe cannot be composed: "
        + (" ".join(first.split()) or f"{type(error.__cause__ or error).__name__}, without a message"),
        where=f"key {key}, in {file}" if key else str(file),
        hint="see the override syntax of Hydra"
        if "override" in first.lower() or "mismatched" in first or "token" in first
        else None,
    )


def no_option(group: str, name: str, options: Iterable[str]) -> RecipeError:
    """The RecipeError for an option that its config group does not have."""
    options = list(options)
    return RecipeError(
        f"There is no {group} '{name}'.",
        where=f"{group}={name}",
        accepted=", ".join(options) + (", or the path of a YAML file" if group == "recipe" else ""),
        hint=did_you_mean(name, options),
    )


def yaml_error(error: yaml.YAMLError, path: Path) -> RecipeError:
    """The RecipeError for text that is no YAML, with line and column where they are known."""
    mark = getattr(error, "problem_mark", None)
    place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    return RecipeError(
        f"The YAML does not parse: {getattr(error, 'problem', error)}.", where=f"{path}{place}"
    )


def _no_key(key: str, overrides: Sequence[str], file: Path) -> RecipeError:
    if key in GROUPS:
        return RecipeError(
            f"The recipe's defaults choose no {key}, so there is none to replace.",
            where=str(file),
            hint=f"add one: +{key}=NAME, or '- /{key}: NAME' in the defaults",
        )
    return RecipeError(
        f"The recipe has no key '{key}'.",
        where=Origin(overrides, {}).of(key),
        accepted="a key of the recipe; plan --resolved prints them",
        hint=did_you_mean(key.partition(".")[0], RECIPE_KEYS),
    )
