"""How fast tokens are generated, one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from pydantic import Field

from modelwright.api.metric import Metric, MetricContext, Observation, Value
from modelwright.api.model import Model, ModelSpec
from modelwright.api.runner import GenerationRunner, Runner
from modelwright_plugins.metric.cells import (
    Cell,
    Count,
    by_cell,
    cells_that_fit,
    lengths_that_fit,
    require_a_length,
)
from modelwright_plugins.metric.speed import milliseconds, speed_value

WARM_UP = 1
FIGURES = (("tokens_per_second", "tokens/s"), ("p50", "ms"), ("p95", "ms"))


class Decode(
    Metric,
    name="decode",
    group="speed",
    figures=tuple(figure for figure, _ in FIGURES),
    tasks=("generate",),
):
    """New tokens per second after a prompt, all rows of the batch counted, and milliseconds per step.

    ::

        decode: {batch: [1, 4, 16], length: [128, 512, 2048], new_tokens: 32, rounds: 5}

    `length` are the tokens of the prompt, random ones; reading it is not timed. Then `new_tokens` are
    generated greedily through the KV cache, after one that warms up: a step feeds a token to each row and
    chooses the most likely one that follows. p50 and p95 are of the steps of a round. Baseline and candidate
    take turns, a round each; figures are medians over rounds with bootstrap intervals. A cell is left out
    whose prompt and new tokens, or batch, one of the two models does not take.
    """

    batch: tuple[Count, ...] = Field((1, 4), min_length=1, description="Texts per batch.")
    length: tuple[Count, ...] = Field((32, 128), min_length=1, description="Tokens of the prompt.")
    new_tokens: int = Field(32, ge=2, le=65_536, description="Steps that are timed per cell and round.")
    rounds: int = Field(5, ge=3, description="Turns each model takes.")

    def grid(self, spec: ModelSpec) -> dict[str, tuple[int, ...]]:
        """Every batch with every length that fits the model."""
        return {"batch": self.batch, "length": lengths_that_fit(self.length, spec, self._room)}

    def check(self, spec: ModelSpec) -> None:
        """At least one prompt has to fit the context with its new tokens."""
        require_a_length(self.name, self.length, spec, self._room)

    @property
    def _room(self) -> int:
        return WARM_UP + self.new_tokens

    def observe(self, model: Model, runner: Runner | None, ctx: MetricContext) -> Iterator[Observation]:
        """A round yields, per cell, tokens per second and the steps' median and 95th percentile in ms."""
        assert isinstance(runner, GenerationRunner)
        cells = cells_that_fit(self.batch, self.length, model.spec, runner, self._room)
        for _ in range(self.rounds):
            yield {"cells": np.array([self._round(runner, cell, ctx.seed) for cell in cells])}

    def _round(self, runner: GenerationRunner, cell: Cell, seed: int) -> list[float]:
        times = step_times(runner, cell, self.new_tokens, seed)
        rate = cell[0] * len(times) / sum(times) * 1e3
        return [*cell, rate, float(np.median(times)), float(np.percentile(times, 95))]

    def compare(
        self, baseline: Sequence[Observation], candidate: Sequence[Observation], seed: int
    ) -> list[Value]:
        """The three figures per cell, with ratios round by round."""
        before, after = by_cell(baseline), by_cell(candidate)
        return [
            speed_value(
                f"decode.{figure}",
                unit,
                {"batch": cell[0], "length": cell[1]},
                before[cell][:, column],
                after[cell][:, column],
                seed,
                {"rounds": len(candidate), "new_tokens": self.new_tokens, "warm_up": WARM_UP},
            )
            for cell in after
            if cell in before
            for column, (figure, unit) in enumerate(FIGURES)
        ]


def step_times(runner: GenerationRunner, cell: Cell, steps: int, seed: int) -> list[float]:
    """Milliseconds of each greedy step after a random prompt of shape (batch, length)."""
    decoder = runner.start(runner.sample(*cell, seed=seed), WARM_UP + steps)
    tokens = decoder.logits.argmax(axis=1)

    def step() -> None:
        nonlocal tokens
        tokens = decoder.step(tokens).argmax(axis=1)

    for _ in range(WARM_UP):
        step()
    return [milliseconds(step) for _ in range(steps)]
