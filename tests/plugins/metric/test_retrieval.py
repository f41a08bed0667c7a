from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from modelwright.api.dataset import Record
from modelwright.api.metric import MetricContext
from modelwright.api.model import Model
from modelwright.api.runner import Floats
from modelwright.api.target import Target
from modelwright.errors import StageError
from modelwright.testing.texts import sentences
from modelwright_plugins.format.torch import Torch
from modelwright_plugins.metric.retrieval import Retrieval
from tests.plugins.lookup_runner import LookupRunner

RECORDS = [Record(query=" ".join(text.split()[:4]), passage=text) for text in sentences(40)]
CONTEXT = MetricContext(Target(threads=1), 0, Torch(), {("docs", "test"): RECORDS})
METRIC = Retrieval(data="docs", k=5)


class UncheckedRunner(LookupRunner):
    """Rows as they come, from a runner that does not look at them."""

    def run(self, texts: Sequence[str], batch_size: int = 32) -> Floats:
        return self.infer(self.tokenizer(texts))


def test_queries_find_the_passages_they_begin(tiny_checkpoint: Model) -> None:
    observed = list(METRIC.observe(tiny_checkpoint, LookupRunner(tiny_checkpoint), CONTEXT))
    mrr, recall = METRIC.compare(observed, observed, 0)
    assert 0.3 < mrr.candidate.value < recall.candidate.value <= 1


def test_vectors_of_nan_fail_the_measurement(tiny_checkpoint: Model) -> None:
    with pytest.raises(StageError, match="gives NaN or infinity for 40 of 40 texts"):
        list(METRIC.observe(tiny_checkpoint, LookupRunner(tiny_checkpoint, broken_from=0), CONTEXT))


@pytest.mark.parametrize("value", [np.nan, 0.0])
def test_scores_that_tell_nothing_apart_find_nothing(tiny_checkpoint: Model, value: float) -> None:
    runner = UncheckedRunner(tiny_checkpoint)
    runner._table[:] = value
    observed = list(METRIC.observe(tiny_checkpoint, runner, CONTEXT))
    assert [found.candidate.value for found in METRIC.compare(observed, observed, 0)] == [0, 0]
