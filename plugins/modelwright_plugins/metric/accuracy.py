"""How often a classifier is right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from pydantic import Field

from modelwright.api.dataset import text_of
from modelwright.api.metric import Metric, MetricContext, Observation, Value
from modelwright.api.model import Model
from modelwright.api.runner import Runner
from modelwright.errors import RecipeError
from modelwright.statistics import mean_interval, paired_difference


class Accuracy(
    Metric, name="accuracy", columns=frozenset({"text", "label"}), figures=("top1",), tasks=("classify",)
):
    """The share of texts whose most likely label is the true one; differences are paired by text.

    ::

        accuracy: {data: docs, samples: 1000}
    """

    data: str = Field(description="The data set whose test split is classified.")
    samples: int = Field(1000, ge=2, description="Texts, from the start of the split.")

    def observe(self, model: Model, runner: Runner | None, ctx: MetricContext) -> Iterator[Observation]:
        """One round: 1 for each text classified rightly, 0 for the others; shape [samples]."""
        assert runner is not None
        records = ctx.data(self.data, self.split)[: self.samples]
        labels = model.spec.labels
        unknown = sorted({record["label"] for record in records} - set(labels))
        if unknown:
            raise RecipeError(
                f"The data has the label '{unknown[0]}', which the model does not know.",
                where=f"data set '{self.data}'",
                accepted=", ".join(labels),
            )
        predicted = runner.run([text_of(record) for record in records]).argmax(axis=1)
        truth = np.array([labels.index(record["label"]) for record in records])
        yield {"right": (predicted == truth).astype(np.float64)}

    def compare(
        self, baseline: Sequence[Observation], candidate: Sequence[Observation], seed: int
    ) -> list[Value]:
        """Accuracy with its paired difference."""
        before, after = baseline[0]["right"], candidate[0]["right"]
        return [
            Value(
                name="accuracy.top1",
                data=self.data,
                better="higher",
                baseline=mean_interval(before, seed),
                candidate=mean_interval(after, seed),
                difference=paired_difference(before, after, seed),
                protocol={"texts": len(after), "split": self.split, "seed": seed},
            )
        ]
