"""Time of one forward pass, over a grid of batch sizes and lengths."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from pydantic import Field

from modelwright.api.metric import Metric, MetricContext, Observation, Value
from modelwright.api.model import Model, ModelSpec
from modelwright.api.runner import Inputs, Runner
from modelwright_plugins.metric.cells import (
    Count,
    by_cell,
    cells_that_fit,
    lengths_that_fit,
    require_a_length,
)
from modelwright_plugins.metric.speed import repeated, speed_value


class Latency(Metric, name="latency", group="speed", figures=("p50", "p95")):
    """Milliseconds per batch (p50, p95) for token inputs of fixed shape, pooling included.

    ::

        latency: {batch: [1, 16], length: [32, 128], rounds: 7}

    Baseline and candidate take turns, a round each. In a round every cell of the grid is warmed up and then
    run for `seconds`, at least `least` times. p50 is the median of the rounds' medians and p95 that of the
    rounds' 95th percentiles, each with a bootstrap interval over rounds; ratios are taken round by round.
    A cell is left out whose length, or batch, one of the two models does not take.
    """

    batch: tuple[Count, ...] = Field((1, 16), min_length=1, description="Texts per batch.")
    length: tuple[Count, ...] = Field((32, 128), min_length=1, description="Tokens per text.")
    rounds: int = Field(7, ge=3, description="Turns each model takes.")
    seconds: float = Field(0.4, gt=0, description="Least time measured per cell and round.")
    least: int = Field(3, ge=1, description="Least runs per cell and round.")

    def grid(self, spec: ModelSpec) -> dict[str, tuple[int, ...]]:
        """Every batch with every length that fits the model."""
        return {"batch": self.batch, "length": lengths_that_fit(self.length, spec)}

    def check(self, spec: ModelSpec) -> None:
        """At least one length has to fit the model."""
        require_a_length(self.name, self.length, spec)

    def observe(self, model: Model, runner: Runner | None, ctx: MetricContext) -> Iterator[Observation]:
        """A round yields, per cell, the median and the 95th percentile of its runs in milliseconds."""
        assert runner is not None
        cells = cells_that_fit(self.batch, self.length, model.spec, runner)
        inputs = {cell: runner.sample(*cell, seed=ctx.seed) for cell in cells}
        for _ in range(self.rounds):
            figures = []
            for batch, length in cells:
                times = self._time(runner, inputs[(batch, length)])
                figures.append([batch, length, np.median(times), np.percentile(times, 95), len(times)])
            yield {"cells": np.array(figures, dtype=np.float64)}

    def _time(self, runner: Runner, inputs: Inputs) -> list[float]:
        runner.infer(inputs)  # warm-up: caches, clocks, lazy allocation
        return repeated(lambda: runner.infer(inputs), least=self.least, seconds=self.seconds)

    def compare(
        self, baseline: Sequence[Observation], candidate: Sequence[Observation], seed: int
    ) -> list[Value]:
        """p50 and p95 per cell, with ratios baseline / candidate."""
        before, after = by_cell(baseline), by_cell(candidate)
        return [
            speed_value(
                f"latency.{figure}",
                "ms",
                {"batch": cell[0], "length": cell[1]},
                before[cell][:, column],
                after[cell][:, column],
                seed,
                {
                    "rounds": len(candidate),
                    "runs": int(after[cell][:, 2].sum()),
                    "seconds_per_round": self.seconds,
                },
            )
            for cell in after
            if cell in before
            for figure, column in (("p50", 0), ("p95", 1))
        ]
