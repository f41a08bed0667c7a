"""That figures are taken of, and say, what really ran."""

from __future__ import annotations

import numpy as np
import pytest

from modelwright.api.dataset import Record
from modelwright.api.metric import Interval, Metric, MetricContext, Value
from modelwright.api.model import Model
from modelwright.api.target import Target
from modelwright.testing.texts import sentences
from modelwright_plugins.format.torch import Torch
from modelwright_plugins.metric.latency import Latency
from modelwright_plugins.metric.memory import Memory
from modelwright_plugins.metric.similarity import Similarity
from modelwright_plugins.metric.throughput import Throughput
from tests.plugins.lookup_runner import LookupRunner, shorter

RECORDS = [Record(text=text) for text in sentences(12)]
CONTEXT = MetricContext(Target(threads=1), 0, Torch(), {("docs", "test"): RECORDS})


def compared(metric: Metric, baseline: Model, candidate: Model) -> list[Value]:
    rounds = [list(metric.observe(m, LookupRunner(m), CONTEXT)) for m in (baseline, candidate)]
    return metric.compare(*rounds, 0)


@pytest.mark.parametrize("metric", [Similarity(data="docs"), Throughput(data="docs", rounds=3)])
def test_the_texts_told_are_those_that_ran(tiny_checkpoint: Model, metric: Metric) -> None:
    (value,) = compared(metric, tiny_checkpoint, tiny_checkpoint)
    assert value.protocol["texts"] == 12


def test_latency_is_compared_at_equal_batch_and_length(tiny_checkpoint: Model) -> None:
    metric = Latency(batch=(1, 2), length=(48, 4), rounds=3, seconds=0.001)
    values = compared(metric, tiny_checkpoint, shorter(tiny_checkpoint, 32))
    found = [value.at for value in values if value.name == "latency.p50"]
    assert found == [{"batch": 1, "length": 4}, {"batch": 2, "length": 4}]
    # As it would be observed: batch, length, p50, p95, runs.
    both = {"cells": np.array([[1, 48, 90.0, 95.0, 3], [1, 4, 10.0, 11.0, 3]])}
    short = {"cells": np.array([[1, 4, 5.0, 5.5, 3]])}
    for baseline, candidate, ratio in ((both, short, 2), (short, both, 0.5)):
        p50, p95 = metric.compare([baseline] * 3, [candidate] * 3, 0)
        assert p50.at == p95.at == {"batch": 1, "length": 4}
        assert p50.ratio == p95.ratio == Interval.exactly(ratio)


def test_memory_at_different_lengths_is_not_compared(tiny_checkpoint: Model) -> None:
    metric = Memory(batch=2, length=48)
    (value,) = compared(metric, tiny_checkpoint, shorter(tiny_checkpoint, 32))
    assert value.protocol == {"batch": 2, "length": 32}
    assert value.candidate.value > 0
    assert (value.baseline, value.difference, value.ratio) == (None, None, None)
    (same,) = compared(metric, tiny_checkpoint, tiny_checkpoint)
    assert same.protocol["length"] == 48
    assert same.ratio is not None
