"""Texts per second, end to end."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import numpy as np
from pydantic import Field

from modelwright.api.dataset import text_of
from modelwright.api.metric import Metric, MetricContext, Observation, Value
from modelwright.api.model import Model
from modelwright.api.runner import Runner
from modelwright.statistics import is_noisy, median_interval, relative_change


class Throughput(Metric, name="throughput", group="speed", figures=("texts_per_second",)):
    """Real texts per second from string to vector: tokenizing, batching by length, inference, pooling.

    ::

        throughput: {data: docs, samples: 96, batch: 16, rounds: 5}
    """

    data: str = Field(description="The data set whose test split is run.")
    samples: int = Field(96, ge=2, description="Texts per round, from the start of the split.")
    batch: int = Field(16, ge=1, description="Texts per batch.")
    rounds: int = Field(5, ge=3, description="Turns each model takes.")

    def observe(self, model: Model, runner: Runner | None, ctx: MetricContext) -> Iterator[Observation]:
        """A round yields texts per second."""
        assert runner is not None
        texts = [text_of(record) for record in ctx.data(self.data, self.split)[: self.samples]]
        runner.run(texts[: self.batch], self.batch)
        for _ in range(self.rounds):
            start = time.perf_counter()
            runner.run(texts, self.batch)
            yield {"rate": len(texts) / (time.perf_counter() - start), "texts": len(texts)}

    def compare(
        self, baseline: Sequence[Observation], candidate: Sequence[Observation], seed: int
    ) -> list[Value]:
        """The rate, with the ratio candidate / baseline round by round."""
        before = np.array([observation["rate"] for observation in baseline])
        after = np.array([observation["rate"] for observation in candidate])
        ratio = median_interval(after / before, seed)
        return [
            Value(
                name="throughput.texts_per_second",
                data=self.data,
                unit="texts/s",
                better="higher",
                baseline=median_interval(before, seed),
                candidate=median_interval(after, seed),
                difference=relative_change(ratio),
                ratio=ratio,
                noisy=is_noisy(ratio),
                protocol={
                    "texts": candidate[0]["texts"],
                    "batch": self.batch,
                    "rounds": len(candidate),
                },
            )
        ]
