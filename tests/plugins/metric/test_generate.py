"""That the metrics of every task serve models that generate."""

from __future__ import annotations

import numpy as np
import pytest

from modelwright.api.dataset import text_of
from modelwright.api.model import Model
from modelwright_plugins.format.torch_causal_runner import TorchCausalRunner
from modelwright_plugins.metric.fusion import attention_count
from modelwright_plugins.metric.latency import Latency
from modelwright_plugins.metric.memory import Memory
from modelwright_plugins.metric.parity import Parity
from modelwright_plugins.metric.size import Size
from modelwright_plugins.metric.throughput import Throughput
from tests.plugins.metric.causal_models import CONTEXT, RECORDS, TwoRows, observed


def test_latency_leaves_out_batches_that_the_runtime_does_not_take(
    causal: Model, causal_runner: TorchCausalRunner
) -> None:
    metric = Latency(batch=(1, 2, 3), length=(8, 65), rounds=3, seconds=0.001)
    rounds = observed(metric, causal, TwoRows(causal_runner))
    values = metric.compare(rounds, rounds, 0)
    assert [value.at for value in values if value.name == "latency.p50"] == [
        {"batch": 1, "length": 8},
        {"batch": 2, "length": 8},
    ]


def test_memory_runs_what_fits_and_compares_only_equal_batches(
    causal: Model, causal_runner: TorchCausalRunner
) -> None:
    metric = Memory(batch=4, length=100)
    fewer = observed(metric, causal, TwoRows(causal_runner))
    full = observed(metric, causal, causal_runner)
    (value,) = metric.compare(full, fewer, 0)
    assert value.protocol == {"batch": 2, "length": 64}
    assert (value.baseline, value.ratio) == (None, None)
    (same,) = metric.compare(full, full, 0)
    assert same.protocol == {"batch": 4, "length": 64}
    assert same.ratio is not None


def test_parity_is_of_the_token_that_comes_next(
    causal: Model, damaged: Model, causal_runner: TorchCausalRunner, damaged_runner: TorchCausalRunner
) -> None:
    metric = Parity(data="docs", samples=8)
    before, after = observed(metric, causal, causal_runner), observed(metric, damaged, damaged_runner)
    values = {value.name: value.candidate.value for value in metric.compare(before, after, 0)}
    rows = [row[-64:] for row in causal_runner.encode([text_of(record) for record in RECORDS[:8]])]
    theirs, ours = (
        np.stack([runner.logits(runner.batch([row]))[0, -1] for row in rows])
        for runner in (causal_runner, damaged_runner)
    )
    assert values["parity.max_error"] == pytest.approx(float(np.abs(theirs - ours).max()), rel=1e-4)
    assert values["parity.top1"] == (theirs.argmax(axis=1) == ours.argmax(axis=1)).mean()
    assert values["parity.kl"] > 0
    same = {value.name: value.candidate.value for value in metric.compare(before, before, 0)}
    assert (same["parity.kl"], same["parity.top1"], same["parity.max_error"]) == (0, 1, 0)


def test_throughput_and_size_measure(causal: Model, causal_runner: TorchCausalRunner) -> None:
    metric = Throughput(data="docs", samples=4, batch=4, rounds=3)
    rounds = observed(metric, causal, TwoRows(causal_runner))
    (rate,) = metric.compare(rounds, rounds, 0)
    assert rate.candidate.value > 0
    sizes = list(Size().observe(causal, None, CONTEXT))
    (size,) = Size().compare(sizes, sizes, 0)
    assert size.candidate.value > sum(file.stat().st_size for file in causal.path.glob("*.safetensors"))


def test_grouped_query_attention_counts_as_fused() -> None:
    assert attention_count({"GroupQueryAttention": 30, "Softmax": 1, "MatMulNBits": 210}) == 30
