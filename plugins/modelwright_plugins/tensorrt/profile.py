"""The shapes that an engine is built for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, Field, StrictInt

from modelwright.errors import RecipeError, did_you_mean

# Far beyond what a GPU takes, and within what TensorRT counts in.
MOST = 1_000_000
Size = Annotated[StrictInt, Field(ge=0, le=MOST)]


def _in_order(sizes: tuple[int, int, int]) -> tuple[int, int, int]:
    least, usual, most = sizes
    if not least <= usual <= most:
        raise ValueError(f"{[*sizes]} are not [min, opt, max]: opt lies between the others")
    return sizes


Range = Annotated[tuple[Size, Size, Size], AfterValidator(_in_order)]
Profile = dict[str, Range]
Shape = tuple[int, ...]


def with_total_length(profile: Mapping[str, tuple[int, int, int]]) -> dict[str, tuple[int, int, int]]:
    """A profile of a KV cache with its dimension `total`: the past and what is new."""
    if "past" not in profile or "length" not in profile or "total" in profile:
        return dict(profile)
    least, usual, most = (past + new for past, new in zip(profile["past"], profile["length"], strict=True))
    return {**profile, "total": (least, usual, most)}


def prompts_and_tokens(profiles: Sequence[Mapping[str, Sequence[int]]]) -> tuple[list[int], list[int]]:
    """The largest batches of profiles that take prompts, without a past, and of those for one more token."""
    prompts = [item["batch"][2] for item in profiles if item["past"][0] == 0]
    tokens = [item["batch"][2] for item in profiles if item["length"][0] == 1 and item["past"][2] > 0]
    return prompts, tokens


def largest_batch(profiles: Sequence[Mapping[str, Sequence[int]]]) -> int:
    """The most rows that can be read and continued."""
    return min(map(max, prompts_and_tokens(profiles)))


def shapes_of(
    profile: Mapping[str, Sequence[int]], name: str, dimensions: Sequence[int | str], where: str
) -> tuple[Shape, Shape, Shape]:
    """The least, usual and largest shape of an input whose dimensions are sizes, or names of the profile.

    Raises RecipeError for a dimension that the profile leaves open.
    """
    shapes: list[Shape] = []
    for place in range(3):
        shape = []
        for dimension in dimensions:
            if isinstance(dimension, str):
                if dimension not in profile:
                    raise RecipeError(
                        f"The profile says no sizes of the dimension '{dimension}' of the input '{name}'.",
                        where=where,
                        accepted=f"{dimension}: [min, opt, max]",
                    )
                dimension = profile[dimension][place]
            shape.append(dimension)
        shapes.append(tuple(shape))
    least, usual, most = shapes
    return least, usual, most


def require_known(profile: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    """Raise RecipeError for a dimension that the graph does not have."""
    for name in profile:
        if name not in known:
            raise RecipeError(
                f"The graph has no dynamic dimension '{name}'.",
                where=where,
                accepted=", ".join(known) or "none: every input is of one shape",
                hint=did_you_mean(name, known),
            )
