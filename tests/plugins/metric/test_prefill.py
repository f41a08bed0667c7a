from __future__ import annotations

import numpy as np
import pytest

from modelwright.api.metric import Interval, Observation
from modelwright.api.model import Model
from modelwright.errors import RecipeError
from modelwright_plugins.format.torch_causal_runner import TorchCausalRunner
from modelwright_plugins.metric.prefill import Prefill
from tests.plugins.metric.causal_models import TwoRows, observed


def rounds_of(*times: float, length: int = 50) -> list[Observation]:
    """As observed at batch 4: batch, length, milliseconds, runs; one round for each time."""
    return [{"cells": np.array([[4, length, time, 3.0]])} for time in times]


def test_rates_and_times_are_of_the_whole_batch() -> None:
    rate, time = Prefill().compare(rounds_of(100.0, 100.0, 100.0), rounds_of(50.0, 50.0, 50.0), 0)
    assert rate.at == time.at == {"batch": 4, "length": 50}
    assert (rate.name, rate.unit, rate.better) == ("prefill.tokens_per_second", "tokens/s", "higher")
    assert (rate.baseline, rate.candidate) == (Interval.exactly(2000), Interval.exactly(4000))
    assert (time.name, time.unit, time.better) == ("prefill.time_to_first_token", "ms", "lower")
    assert (time.baseline, time.candidate) == (Interval.exactly(100), Interval.exactly(50))
    assert rate.ratio == time.ratio == Interval.exactly(2)
    assert (rate.difference, time.difference) == (Interval.exactly(1), Interval.exactly(-0.5))
    assert rate.protocol["runs"] == 9


def test_ratios_are_taken_round_by_round() -> None:
    rate, time = Prefill().compare(rounds_of(10.0, 20.0, 30.0), rounds_of(5.0, 10.0, 15.0), 0)
    assert rate.ratio == time.ratio == Interval.exactly(2)
    assert time.candidate.low < time.candidate.high
    assert not time.noisy


def test_cells_that_a_model_does_not_take_are_left_out(
    causal: Model, causal_runner: TorchCausalRunner
) -> None:
    metric = Prefill(batch=(1, 2, 4), length=(16, 64, 65), rounds=3, seconds=0.001)
    rounds = observed(metric, causal, TwoRows(causal_runner))
    assert [found["cells"][:, :2].tolist() for found in rounds] == [[[1, 16], [1, 64], [2, 16], [2, 64]]] * 3
    assert metric.compare(rounds_of(1.0, 1.0, 1.0), rounds_of(1.0, 1.0, 1.0, length=16), 0) == []


def test_a_run_is_a_prompt_and_its_first_token(causal: Model, causal_runner: TorchCausalRunner) -> None:
    runner = TwoRows(causal_runner)
    quick = observed(Prefill(batch=(2,), length=(16,), rounds=3, seconds=0.02, least=2), causal, runner)
    assert set(runner.started) == {(2, 16, 0)}
    assert all(found["cells"][0, 3] >= 2 for found in quick)
    runs = sum(int(found["cells"][0, 3]) for found in quick)
    assert len(runner.started) > runs  # warmed up beside


def test_slow_cells_are_warmed_up_once(causal: Model, causal_runner: TorchCausalRunner) -> None:
    runner = TwoRows(causal_runner)
    rounds = observed(Prefill(batch=(2,), length=(16,), rounds=3, seconds=1e-9, least=1), causal, runner)
    assert [found["cells"][0, 3] for found in rounds] == [1, 1, 1]
    assert len(runner.started) == 4


def test_lengths_beyond_the_context_are_refused_in_the_plan(causal: Model) -> None:
    Prefill(length=(64, 100)).check(causal.spec)
    with pytest.raises(RecipeError, match="beyond the model's 64 tokens"):
        Prefill(length=(65, 100)).check(causal.spec)
