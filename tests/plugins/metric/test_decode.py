from __future__ import annotations

import numpy as np
import pytest

from modelwright.api.metric import Interval, Observation
from modelwright.api.model import Model
from modelwright.api.runner import Floats, Tokens
from modelwright.errors import RecipeError
from modelwright_plugins.format.torch_causal_runner import TorchCausalRunner, TorchDecoder
from modelwright_plugins.metric import speed
from modelwright_plugins.metric.decode import Decode
from tests.plugins.metric.causal_models import TwoRows, observed


def rounds_of(rate: float, p50: float, p95: float) -> list[Observation]:
    """Three rounds as observed at batch 2 and 32 tokens."""
    return [{"cells": np.array([[2, 32, rate, p50, p95]])}] * 3


def test_more_tokens_and_less_time_are_better() -> None:
    values = Decode().compare(rounds_of(100.0, 20.0, 30.0), rounds_of(250.0, 8.0, 10.0), 0)
    assert [(v.name, v.unit, v.better) for v in values] == [
        ("decode.tokens_per_second", "tokens/s", "higher"),
        ("decode.p50", "ms", "lower"),
        ("decode.p95", "ms", "lower"),
    ]
    assert [value.ratio for value in values] == [Interval.exactly(ratio) for ratio in (2.5, 2.5, 3)]
    assert all(value.at == {"batch": 2, "length": 32} for value in values)


def test_the_rate_counts_every_row_of_every_step(
    causal: Model, causal_runner: TorchCausalRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A clock on which every reading is a tenth of a second after the last.
    clock = iter(range(10**6))
    monkeypatch.setattr(speed.time, "perf_counter", lambda: next(clock) / 10)
    rounds = observed(Decode(batch=(2,), length=(8,), new_tokens=5, rounds=3), causal, causal_runner)
    assert rounds[0]["cells"].tolist() == [[2, 8, pytest.approx(20), pytest.approx(100), pytest.approx(100)]]


def test_cells_that_a_model_does_not_take_are_left_out(
    causal: Model, causal_runner: TorchCausalRunner
) -> None:
    runner = TwoRows(causal_runner)
    metric = Decode(batch=(1, 2, 4), length=(8, 55, 56, 64), new_tokens=8, rounds=3)
    rounds = observed(metric, causal, runner)
    assert rounds[0]["cells"][:, :2].tolist() == [[1, 8], [1, 55], [2, 8], [2, 55]]
    assert set(runner.started) == {(1, 8, 9), (1, 55, 9), (2, 8, 9), (2, 55, 9)}
    assert len(runner.started) == 4 * 3


def test_what_is_fed_is_what_was_most_likely(
    causal: Model, causal_runner: TorchCausalRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    fed: list[list[int]] = []
    chosen: list[list[int]] = []
    step = TorchDecoder.step

    def watched(self: TorchDecoder, tokens: Tokens) -> Floats:
        chosen.append(self.logits.argmax(axis=1).tolist())
        fed.append(tokens.tolist())
        return step(self, tokens)

    monkeypatch.setattr(TorchDecoder, "step", watched)
    observed(Decode(batch=(2,), length=(8,), new_tokens=5, rounds=3), causal, causal_runner)
    assert fed == chosen
    assert len(fed) == 3 * 6  # one step more than is timed, to warm up


def test_prompts_that_leave_no_room_are_refused_in_the_plan(causal: Model) -> None:
    Decode(length=(31,), new_tokens=32).check(causal.spec)
    with pytest.raises(
        RecipeError, match="with the 33 tokens added to it, is beyond the model's 64"
    ) as caught:
        Decode(length=(32,), new_tokens=32).check(causal.spec)
    assert caught.value.accepted == "1 to 31"
