"""Whether two models order pairs of texts alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from pydantic import Field

from modelwright.api.dataset import text_of
from modelwright.api.metric import Metric, MetricContext, Observation, Value
from modelwright.api.model import Model
from modelwright.api.runner import Runner
from modelwright.statistics import bootstrap_interval
from modelwright_plugins.metric.parity import cosine_rows


class Similarity(Metric, name="similarity", figures=("spearman",), tasks=("embed",)):
    """Spearman's rank correlation of pair similarities with the baseline's (as in STS; Cer et al. 2017).

    ::

        similarity: {data: docs, samples: 300, pairs: 5000}
    """

    data: str = Field(description="The data set whose test split is paired.")
    samples: int = Field(300, ge=4, description="Texts, from the start of the split.")
    pairs: int = Field(5000, ge=10, description="Random pairs of them.")

    def observe(self, model: Model, runner: Runner | None, ctx: MetricContext) -> Iterator[Observation]:
        """One round: cosine of each pair, shape [pairs]."""
        assert runner is not None
        texts = [text_of(record) for record in ctx.data(self.data, self.split)[: self.samples]]
        vectors = runner.run(texts)
        first, second = np.random.default_rng(ctx.seed).integers(0, len(texts), (2, self.pairs))
        yield {"cosines": cosine_rows(vectors[first], vectors[second]), "texts": len(texts)}

    def compare(
        self, baseline: Sequence[Observation], candidate: Sequence[Observation], seed: int
    ) -> list[Value]:
        """The correlation, with an interval over resampled pairs."""
        before, after = baseline[0]["cosines"], candidate[0]["cosines"]
        random = np.random.default_rng(seed)
        resampled = []
        for _ in range(200):
            drawn = random.integers(0, len(before), len(before))
            resampled.append(_spearman(before[drawn], after[drawn]))
        return [
            Value(
                name="similarity.spearman",
                data=self.data,
                better="higher",
                candidate=bootstrap_interval(_spearman(before, after), resampled),
                protocol={
                    "pairs": len(after),
                    "texts": candidate[0]["texts"],
                    "split": self.split,
                    "seed": seed,
                },
            )
        ]


def _spearman(before: np.ndarray, after: np.ndarray) -> float:
    return float(np.corrcoef(_ranks(before), _ranks(after))[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 0, ties sharing their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts + 1) / 2)[inverse])
