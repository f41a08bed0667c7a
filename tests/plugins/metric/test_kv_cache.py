from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from modelwright.api.metric import Interval, Observation
from modelwright.api.model import GenerationSpec, Model
from modelwright.errors import RecipeError
from modelwright_plugins.format.torch_causal_runner import TorchCausalRunner
from modelwright_plugins.metric.crossover import crossover
from modelwright_plugins.metric.kv_cache import KvCache, formula_bytes
from tests.plugins.metric.causal_models import TwoRows, figure, observed

LENGTHS = (1, 11, 21)
NAN = float("nan")


def round_of(
    cached: Sequence[float],
    recomputed: Sequence[float],
    prefill: float = 1.0,
    held: Sequence[float] = (10, 110, 210),
) -> Observation:
    """A round as observed at batch 1: batch, length, three times, bytes and bytes by formula."""
    rows = zip(LENGTHS, cached, recomputed, held, strict=True)
    return {
        "cells": np.array(
            [[1, n, with_, without, prefill, count, 8.0 * n] for n, with_, without, count in rows]
        )
    }


def brute_force(cached: Sequence[float], recomputed: Sequence[float], prefill: float) -> int | None:
    """Generates texts of every length both ways and compares what they took."""
    paid = None
    with_cache, without = prefill, recomputed[0]
    for length in range(LENGTHS[0] + 1, LENGTHS[-1] + 2):
        if length > LENGTHS[0] + 1:  # the token that makes the text this long
            with_cache += float(np.interp(length - 1, LENGTHS, cached))
            without += float(np.interp(length - 1, LENGTHS, recomputed))
        paid = None if with_cache > without else paid or length
    return paid


@pytest.mark.parametrize(
    ("cached", "recomputed", "prefill"),
    [
        ([1, 1, 1], [2, 2, 2], 1.5),  # from the first token on
        ([1, 1, 1], [2, 2, 2], 5.5),  # after the debt of the prefill is paid
        ([3, 3, 3], [1, 5, 9], 1.0),  # recomputing is cheaper for short texts
        ([3, 4, 5], [1, 5, 9], 1.7),
        ([3, 3, 3], [1, 2, 2.5], 1.0),  # never
        ([2, 1, 2], [1, 4, 1], 1.0),
    ],
)
def test_the_crossover_is_where_generating_with_the_cache_has_become_cheaper(
    cached: list[float], recomputed: list[float], prefill: float
) -> None:
    found = crossover(LENGTHS, cached, recomputed, prefill)
    assert found == brute_force(cached, recomputed, prefill)


def test_crossovers_by_hand() -> None:
    assert crossover(LENGTHS, [1, 1, 1], [2, 2, 2], prefill=2.0) == 2
    # 3 ms behind after the prompt, 1 ms caught up with each token: even three tokens later.
    assert crossover(LENGTHS, [1, 1, 1], [2, 2, 2], prefill=5.0) == 5
    assert crossover(LENGTHS, [2, 2, 2], [1, 1, 1], prefill=1.0) is None


def test_figures_per_length_and_the_crossover() -> None:
    before = [round_of([1, 1, 1], [2, 2, 2], 5.0)] * 3
    after = [round_of([1, 1, 1], [4, 4, 4], 4.0, held=(5, 55, 105))] * 3
    values = KvCache(length=LENGTHS).compare(before, after, 0)
    assert {value.name.partition(".")[2] for value in values} == set(KvCache.figures)
    held = figure(values, "kv_cache.bytes", length=11)
    assert (held.candidate.value, held.baseline.value, held.ratio.value) == (55, 110, 2)
    assert figure(values, "kv_cache.bytes_by_formula", length=21).candidate.value == 168
    times = figure(values, "kv_cache.ms_per_token", length=11, decoding="recomputed")
    assert (times.baseline.value, times.candidate.value, times.ratio.value) == (2, 4, 0.5)
    assert figure(values, "kv_cache.ms_per_token", length=11, decoding="cached").candidate.value == 1
    crossed = figure(values, "kv_cache.crossover", batch=1)
    assert (crossed.candidate, crossed.baseline) == (Interval.exactly(2), Interval.exactly(5))


def test_without_a_crossover_in_some_round_there_is_none() -> None:
    never, at_once = round_of([3, 3, 3], [1, 1, 1]), round_of([1, 1, 1], [2, 2, 2])
    values = KvCache(length=LENGTHS).compare([at_once] * 3, [at_once, never, at_once], 0)
    assert not [value for value in values if value.name == "kv_cache.crossover"]
    times = figure(values, "kv_cache.ms_per_token", length=11, decoding="cached")
    assert times.protocol["crossover"] == "none up to 21 tokens"


def test_a_runtime_that_does_not_tell_has_no_bytes() -> None:
    tells = [round_of([1, 1, 1], [2, 2, 2])] * 3
    silent = [round_of([1, 1, 1], [2, 2, 2], held=(NAN, NAN, NAN))] * 3
    metric = KvCache(length=LENGTHS)
    assert not [value for value in metric.compare(tells, silent, 0) if value.name == "kv_cache.bytes"]
    alone = figure(metric.compare(silent, tells, 0), "kv_cache.bytes", length=11)
    assert (alone.candidate.value, alone.baseline, alone.ratio) == (110, None, None)


def test_measured_bytes_equal_the_formula(causal: Model, causal_runner: TorchCausalRunner) -> None:
    metric = KvCache(batch=2, length=(16, 1, 40, 60), steps=4, rounds=3)
    rounds = observed(metric, causal, causal_runner)
    # 2 x 2 layers x 2 heads x 16 numbers of 4 bytes, for 2 texts.
    assert rounds[-1]["cells"][:, [0, 1, 5, 6]].tolist() == [
        [2, length, 1024 * length, 1024 * length] for length in (1, 16, 40)
    ]
    values = metric.compare(rounds, rounds, 0)
    assert figure(values, "kv_cache.bytes", length=40).candidate.value == 40_960
    assert figure(values, "kv_cache.bytes", length=40).ratio == Interval.exactly(1)


def test_the_formula_knows_the_caches_type_and_windows(causal: Model) -> None:
    spec = causal.spec
    assert formula_bytes(spec, 4, 3, 10) == 128 * 4 * 3 * 10
    assert formula_bytes(spec, 34 / 32, 3, 10) == 128 * 34 // 32 * 3 * 10
    window = GenerationSpec(vocabulary=264, cache_elements=128, windowed_elements=128, window=6)
    assert formula_bytes(spec.model_copy(update={"generation": window}), 2, 1, 10) == 128 * 2 * 6
    half = GenerationSpec(vocabulary=264, cache_elements=128, windowed_elements=64, window=6)
    assert formula_bytes(spec.model_copy(update={"generation": half}), 2, 1, 10) == 64 * 2 * (6 + 10)
    assert formula_bytes(spec, None, 3, 10) is None
    unknown = GenerationSpec(vocabulary=264)
    assert formula_bytes(spec.model_copy(update={"generation": unknown}), 4, 1, 10) is None


def test_the_whole_text_is_run_again_without_the_cache(
    causal: Model, causal_runner: TorchCausalRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = TwoRows(causal_runner)
    again: list[tuple[int, ...]] = []
    monkeypatch.setattr(runner, "infer", lambda inputs: again.append(inputs["input_ids"].shape))
    observed(KvCache(length=(4, 9), steps=3, least=2, rounds=3), causal, runner)
    assert again == [(1, 4), (1, 4), (1, 9), (1, 9)] * 3
    assert {(length, room) for _, length, room in runner.started} == {(4, 0), (4, 4), (9, 0), (9, 4)}


def test_a_batch_that_the_runtime_does_not_take_measures_nothing(
    causal: Model, causal_runner: TorchCausalRunner
) -> None:
    metric = KvCache(batch=3, length=(4,), steps=2, rounds=3)
    full, empty = observed(metric, causal, causal_runner), observed(metric, causal, TwoRows(causal_runner))
    assert metric.compare(full, empty, 0) == []
    alone = metric.compare(empty, full, 0)
    assert {value.name for value in alone} == {"kv_cache.bytes", "kv_cache.bytes_by_formula"}
    assert all(value.baseline is None for value in alone)


def test_texts_that_leave_no_room_are_refused_in_the_plan(causal: Model) -> None:
    with pytest.raises(RecipeError, match="with the 9 tokens added to it, is beyond the model's 64"):
        KvCache(length=(56,)).check(causal.spec)
