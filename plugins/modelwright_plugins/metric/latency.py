"""Time of one forward pass, over a grid of batch sizes and lengths."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from modelwright.api.metric import Metric, MetricContext, Observation, Value
from modelwright.api.model import Model, ModelSpec
from modelwright.api.runner import Runner
from modelwright.errors import RecipeError
from modelwright.statistics import is_noisy, median_interval, relative_change

Count = Annotated[int, Field(ge=1, le=65_536, strict=True)]


class Latency(Metric, name="latency", group="speed", figures=("p50", "p95")):
    """Milliseconds per batch (p50, p95) for token inputs of fixed shape, pooling included.

    ::

        latency: {batch: [1, 16], length: [32, 128], rounds: 7}

    Baseline and candidate take turns, a round each. In a round every cell of the grid is warmed up and then
    run for `seconds`, at least `least` times. p50 is the median of the rounds' medians and p95 that of the
    rounds' 95th percentiles, each with a bootstrap interval over rounds; ratios are taken round by round.
    A cell is left out whose length one of the two models does not take.
    """

    batch: tuple[Count, ...] = Field((1, 16), min_length=1, description="Texts per batch.")
    length: tuple[Count, ...] = Field((32, 128), min_length=1, description="Tokens per text.")
    rounds: int = Field(7, ge=3, description="Turns each model takes.")
    seconds: float = Field(0.4, gt=0, description="Least time measured per cell and round.")
    least: int = Field(3, ge=1, description="Least runs per cell and round.")

    def check(self, spec: ModelSpec) -> None:
        """At least one length has to fit the model."""
        if min(self.length) > spec.max_length:
            raise RecipeError(
                f"Every length to measure is beyond the model's {spec.max_length} tokens.",
                where="validate.metrics.latency.length",
                accepted=f"1 to {spec.max_length}",
            )

    def observe(self, model: Model, runner: Runner | None, ctx: MetricContext) -> Iterator[Observation]:
        """A round yields, per cell, the median and the 95th percentile of its runs in milliseconds."""
        assert runner is not None
        cells = [
            (batch, length)
            for batch in self.batch
            for length in self.length
            if length <= model.spec.max_length
        ]
        inputs = {cell: runner.sample(*cell, seed=ctx.seed) for cell in cells}
        for _ in range(self.rounds):
            figures = []
            for batch, length in cells:
                times = self._time(runner, inputs[(batch, length)])
                figures.append([batch, length, np.median(times), np.percentile(times, 95), len(times)])
            yield {"cells": np.array(figures, dtype=np.float64)}

    def _time(self, runner: Runner, inputs: object) -> list[float]:
        runner.infer(inputs)  # type: ignore[arg-type]  # warm-up: caches, clocks, lazy allocation
        times: list[float] = []
        ends = time.perf_counter() + self.seconds
        while len(times) < self.least or time.perf_counter() < ends:
            start = time.perf_counter()
            runner.infer(inputs)  # type: ignore[arg-type]
            times.append((time.perf_counter() - start) * 1e3)
        return times

    def compare(
        self, baseline: Sequence[Observation], candidate: Sequence[Observation], seed: int
    ) -> list[Value]:
        """p50 and p95 per cell, with ratios baseline / candidate."""
        before, after = _by_cell(baseline), _by_cell(candidate)
        values = []
        for batch, length in after:
            if (batch, length) not in before:
                continue
            for figure, column in (("p50", 0), ("p95", 1)):
                ours, theirs = after[(batch, length)][:, column], before[(batch, length)][:, column]
                interval = median_interval(ours, seed)
                ratio = median_interval(theirs / ours, seed)
                values.append(
                    Value(
                        name=f"latency.{figure}",
                        at={"batch": batch, "length": length},
                        unit="ms",
                        better="lower",
                        baseline=median_interval(theirs, seed),
                        candidate=interval,
                        difference=relative_change(median_interval(ours / theirs, seed)),
                        ratio=ratio,
                        noisy=is_noisy(ratio),
                        protocol={
                            "rounds": len(candidate),
                            "runs": int(after[(batch, length)][:, 2].sum()),
                            "seconds_per_round": self.seconds,
                        },
                    )
                )
        return values


def _by_cell(rounds: Sequence[Observation]) -> dict[tuple[int, int], np.ndarray]:
    """Arrays [rounds, (p50, p95, runs)] by batch and length."""
    stacked = np.stack([observation["cells"] for observation in rounds])
    return {(int(cell[0, 0]), int(cell[0, 1])): cell[:, 2:] for cell in stacked.swapaxes(0, 1)}
