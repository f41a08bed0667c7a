"""The grid of batch sizes and lengths that speed is measured over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from modelwright.api.metric import Observation
from modelwright.api.model import ModelSpec
from modelwright.api.runner import Runner
from modelwright.errors import RecipeError

Count = Annotated[int, Field(ge=1, le=65_536, strict=True)]
Cell = tuple[int, int]


def lengths_that_fit(lengths: Sequence[int], spec: ModelSpec, room: int = 0) -> tuple[int, ...]:
    """The lengths that the model takes, with `room` tokens on top of each."""
    return tuple(length for length in lengths if length + room <= spec.max_length)


def cells_that_fit(
    batches: Sequence[int], lengths: Sequence[int], spec: ModelSpec, runner: Runner, room: int = 0
) -> list[Cell]:
    """(batch, length) in the order given, without what the model or its runtime does not take.

    `room` are the tokens that come on top of a length.
    """
    most = largest_batch(runner)
    return [
        (batch, length)
        for batch in batches
        for length in lengths_that_fit(lengths, spec, room)
        if most is None or batch <= most
    ]


def largest_batch(runner: Runner) -> int | None:
    """The most rows a runtime takes at once; None where there is no limit."""
    # Only the protocol of runners that generate has a limit.
    most: int | None = getattr(runner, "max_batch", None)
    return most


def require_a_length(metric: str, lengths: Sequence[int], spec: ModelSpec, room: int = 0) -> None:
    """Raise RecipeError when no length fits the model."""
    if min(lengths) + room > spec.max_length:
        added = f", with the {room:,} tokens added to it," if room else ""
        raise RecipeError(
            f"Every length to measure{added} is beyond the model's {spec.max_length:,} tokens.",
            where=f"validate.metrics.{metric}.length",
            accepted=f"1 to {max(spec.max_length - room, 0)}",
        )


def by_cell(rounds: Sequence[Observation]) -> dict[Cell, NDArray[np.float64]]:
    """Arrays [rounds, columns] by cell, out of rounds whose `cells` have the rows batch, length, columns…"""
    stacked = np.stack([observation["cells"] for observation in rounds])
    return {(int(cell[0, 0]), int(cell[0, 1])): cell[:, 2:] for cell in stacked.swapaxes(0, 1)}
