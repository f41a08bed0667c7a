"""How fast prompts are read: tokens per second and time to first token."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from pydantic import Field

from modelwright.api.metric import Metric, MetricContext, Observation, Value
from modelwright.api.model import Model, ModelSpec
from modelwright.api.runner import GenerationRunner, Inputs, Runner
from modelwright_plugins.metric.cells import (
    Cell,
    Count,
    by_cell,
    cells_that_fit,
    lengths_that_fit,
    require_a_length,
)
from modelwright_plugins.metric.speed import repeated, speed_value


class Prefill(
    Metric,
    name="prefill",
    group="speed",
    figures=("tokens_per_second", "time_to_first_token"),
    tasks=("generate",),
):
    """Prompt tokens per second, and milliseconds from a batch of prompts to its first new tokens.

    ::

        prefill: {batch: [1, 4, 16], length: [16, 128, 512, 2048], rounds: 5}

    Prompts are random tokens of equal length; filling the KV cache and the choice of the most likely token
    count, tokenizing does not. Baseline and candidate take turns, a round each, in which every cell of the
    grid runs for `seconds` and at least `least` times. It is warmed up before, but a cell that takes longer
    than `seconds` only in the first round. Figures are medians over rounds of the rounds' medians, with
    bootstrap intervals. A cell is left out whose length, or batch, one of the two models does not take.
    """

    batch: tuple[Count, ...] = Field((1, 4), min_length=1, description="Prompts per batch.")
    length: tuple[Count, ...] = Field((16, 128, 512), min_length=1, description="Tokens per prompt.")
    rounds: int = Field(5, ge=3, description="Turns each model takes.")
    seconds: float = Field(0.2, gt=0, description="Least time measured per cell and round.")
    least: int = Field(1, ge=1, description="Least runs per cell and round.")

    def grid(self, spec: ModelSpec) -> dict[str, tuple[int, ...]]:
        """Every batch with every length that fits the model."""
        return {"batch": self.batch, "length": lengths_that_fit(self.length, spec)}

    def check(self, spec: ModelSpec) -> None:
        """At least one length has to fit the context."""
        require_a_length(self.name, self.length, spec)

    def observe(self, model: Model, runner: Runner | None, ctx: MetricContext) -> Iterator[Observation]:
        """A round yields, per cell, the median time to first token in milliseconds, and its runs."""
        assert isinstance(runner, GenerationRunner)
        cells = cells_that_fit(self.batch, self.length, model.spec, runner)
        inputs = {cell: runner.sample(*cell, seed=ctx.seed) for cell in cells}
        slow: set[Cell] = set()
        for _ in range(self.rounds):
            figures = []
            for cell in cells:
                if cell not in slow:
                    first_tokens(runner, inputs[cell])
                times = self._time(runner, inputs[cell])
                figures.append([*cell, np.median(times), len(times)])
                if np.median(times) > self.seconds * 1e3:
                    slow.add(cell)
            yield {"cells": np.array(figures, dtype=np.float64)}

    def _time(self, runner: GenerationRunner, inputs: Inputs) -> list[float]:
        return repeated(lambda: first_tokens(runner, inputs), least=self.least, seconds=self.seconds)

    def compare(
        self, baseline: Sequence[Observation], candidate: Sequence[Observation], seed: int
    ) -> list[Value]:
        """Rate and time per cell, with ratios round by round."""
        before, after = by_cell(baseline), by_cell(candidate)
        values = []
        for cell in after:
            if cell not in before:
                continue
            batch, length = cell
            theirs, ours = before[cell][:, 0], after[cell][:, 0]
            at = {"batch": batch, "length": length}
            runs = int(after[cell][:, 1].sum())
            protocol = {"rounds": len(candidate), "runs": runs, "seconds_per_round": self.seconds}
            tokens = batch * length * 1e3
            values += [
                speed_value(
                    "prefill.tokens_per_second",
                    "tokens/s",
                    at,
                    tokens / theirs,
                    tokens / ours,
                    seed,
                    protocol,
                ),
                speed_value("prefill.time_to_first_token", "ms", at, theirs, ours, seed, protocol),
            ]
        return values


def first_tokens(runner: GenerationRunner, inputs: Inputs) -> object:
    """The most likely token after each prompt, of shape [batch]."""
    return runner.start(inputs, 0).logits.argmax(axis=1)
