"""Patterns over the dotted names of a model's layers and weights."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence

from modelwright.errors import RecipeError, did_you_mean


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether a name matches one of them."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def require_matches(names: Sequence[str], patterns: Sequence[str], what: str, where: str) -> None:
    """Raise RecipeError for a pattern that matches no name; `what` is said of the names, such as `layer`."""
    for pattern in patterns:
        if not fnmatch.filter(names, pattern):
            raise RecipeError(
                f"The pattern '{pattern}' matches no {what} of the model.",
                where=where,
                accepted=f"patterns over names such as {', '.join(names[:3])}",
                hint=did_you_mean(pattern, names),
            )


def chosen(
    names: Sequence[str], include: Sequence[str], exclude: Sequence[str], where: tuple[str, str]
) -> list[str]:
    """The layers that match a pattern of `include` (all, where there is none) and none of `exclude`.

    `where` says where the recipe sets each of the two. Raises RecipeError for a pattern that matches no
    name, and when nothing is left.
    """
    for patterns, place in zip((include, exclude), where, strict=True):
        require_matches(names, patterns, "layer", place)
    found = [name for name in names if (not include or matches(name, include)) and not matches(name, exclude)]
    if not found:
        raise RecipeError(
            "The patterns leave no layer.",
            where=where[1],
            accepted=f"patterns that leave some of {', '.join(names[:3])}, …",
        )
    return found
