"""How equal two models' outputs are on the same texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from pydantic import Field

from modelwright.api.dataset import text_of
from modelwright.api.metric import Interval, Metric, MetricContext, Observation, Value
from modelwright.api.model import Model
from modelwright.api.runner import Runner
from modelwright.statistics import mean_interval

SAMPLES = 240


class Parity(
    Metric,
    name="parity",
    split="validation",
    figures=("cosine_mean", "cosine_min", "max_error", "mean_error", "kl", "top1"),
):
    """Outputs on the same texts: error, cosine per text, and for classifiers KL divergence and top-1.

    ::

        parity: {data: docs, samples: 240}

    `cosine_mean` is judged by the interval of the mean; `cosine_min`, `max_error` and `mean_error` are
    exact. `kl` is KL(baseline ‖ candidate) in nats, averaged; `top1` the share of texts whose most likely
    label, or next token, is the same (both only where the model gives logits).
    """

    data: str = Field(description="The data set whose validation split is run.")
    samples: int = Field(SAMPLES, ge=2, description="Texts to run, from the start of the split.")

    def observe(self, model: Model, runner: Runner | None, ctx: MetricContext) -> Iterator[Observation]:
        """One round: outputs of shape [samples, dim]."""
        assert runner is not None
        texts = [text_of(record) for record in ctx.data(self.data, self.split)[: self.samples]]
        yield {"outputs": runner.run(texts), "task": model.spec.task}

    def compare(
        self, baseline: Sequence[Observation], candidate: Sequence[Observation], seed: int
    ) -> list[Value]:
        """Figures over all texts."""
        before, after = baseline[0]["outputs"], candidate[0]["outputs"]
        cosines = cosine_rows(before, after)
        error = np.abs(after - before)
        values = [
            self._value("cosine_mean", mean_interval(cosines, seed), "higher", len(before)),
            self._value("cosine_min", Interval.exactly(float(cosines.min())), "higher", len(before)),
            self._value("max_error", Interval.exactly(float(error.max())), "lower", len(before)),
            self._value("mean_error", Interval.exactly(float(error.mean())), "lower", len(before)),
        ]
        if candidate[0]["task"] in ("classify", "generate"):
            divergence = kl_rows(before, after)
            same = (before.argmax(axis=1) == after.argmax(axis=1)).astype(np.float64)
            values.append(self._value("kl", mean_interval(divergence, seed), "lower", len(before), "nats"))
            values.append(self._value("top1", mean_interval(same, seed), "higher", len(before)))
        return values

    def _value(self, figure: str, interval: Interval, better: str, count: int, unit: str = "") -> Value:
        return Value(
            name=f"parity.{figure}",
            data=self.data,
            unit=unit,
            better="higher" if better == "higher" else "lower",
            candidate=interval,
            protocol={"texts": count, "split": self.split},
        )


def cosine_rows(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Cosine of each row of one matrix with the same row of another; shape [n]."""
    norms = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
    dots = np.einsum("ij,ij->i", before.astype(np.float64), after.astype(np.float64))
    return np.asarray(dots / np.maximum(norms, 1e-12))


def kl_rows(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """KL(before ‖ after) in nats of each row of logits; shape [n]."""
    p, q = _log_softmax(before), _log_softmax(after)
    return np.asarray((np.exp(p) * (p - q)).sum(axis=1))


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))
