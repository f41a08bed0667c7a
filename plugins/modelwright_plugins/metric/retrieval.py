"""Finding the right passage for a query."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from pydantic import Field

from modelwright.api.metric import Metric, MetricContext, Observation, Value
from modelwright.api.model import Model
from modelwright.api.runner import Runner
from modelwright.statistics import mean_interval, paired_difference


class Retrieval(
    Metric,
    name="retrieval",
    columns=frozenset({"query", "passage"}),
    figures=("mrr", "recall"),
    tasks=("embed",),
):
    """MRR@k and recall@k of each query's own passage among all passages.

    ::

        retrieval: {data: docs, queries: 1000, k: 10}

    Each model ranks with its own vectors by inner product of what the runner gives (cosine for models that
    normalize). A query's reciprocal rank is 0 beyond rank k (Voorhees 1999, TREC-8 Question Answering
    Track). Differences are paired by query.
    """

    data: str = Field(description="The data set whose test split is searched.")
    queries: int = Field(1000, ge=2, description="Queries, and passages to search among, from the start.")
    k: int = Field(10, ge=1, description="The rank up to which a hit counts.")

    def observe(self, model: Model, runner: Runner | None, ctx: MetricContext) -> Iterator[Observation]:
        """One round: the rank of each query's passage (0 is first), shape [queries]."""
        assert runner is not None
        records = ctx.data(self.data, self.split)[: self.queries]
        queries = runner.run([record["query"] for record in records])
        passages = runner.run([record["passage"] for record in records])
        scores = queries @ passages.T
        own = np.diagonal(scores)[:, None]
        # Ties rank behind, so that equal vectors for all do not look like a perfect search.
        # Counted by what is not lower, so that a score which compares with nothing ranks behind as well.
        yield {"ranks": (~(scores < own)).sum(axis=1) - 1}

    def compare(
        self, baseline: Sequence[Observation], candidate: Sequence[Observation], seed: int
    ) -> list[Value]:
        """MRR and recall with paired differences."""
        return [
            self._value("mrr", self._reciprocal(baseline), self._reciprocal(candidate), seed),
            self._value("recall", self._hits(baseline), self._hits(candidate), seed),
        ]

    def _reciprocal(self, rounds: Sequence[Observation]) -> np.ndarray:
        ranks = rounds[0]["ranks"]
        return np.where(ranks < self.k, 1.0 / (ranks + 1), 0.0)

    def _hits(self, rounds: Sequence[Observation]) -> np.ndarray:
        return np.asarray(rounds[0]["ranks"] < self.k, dtype=np.float64)

    def _value(self, figure: str, before: np.ndarray, after: np.ndarray, seed: int) -> Value:
        return Value(
            name=f"retrieval.{figure}",
            data=self.data,
            better="higher",
            baseline=mean_interval(before, seed),
            candidate=mean_interval(after, seed),
            difference=paired_difference(before, after, seed),
            protocol={"queries": len(after), "k": self.k, "split": self.split, "seed": seed},
        )
