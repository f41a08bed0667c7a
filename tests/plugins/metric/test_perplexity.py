from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from modelwright.api.dataset import Record, text_of
from modelwright.api.metric import Interval, Observation
from modelwright.api.model import Model
from modelwright.api.runner import Floats, Inputs
from modelwright.errors import RecipeError, StageError
from modelwright_plugins.format.torch_causal_runner import TorchCausalRunner
from modelwright_plugins.metric.perplexity import Perplexity
from modelwright_plugins.metric.running_text import running_text
from modelwright_plugins.metric.sliding_windows import sliding_windows
from tests.plugins.metric.causal_models import CONTEXT, RECORDS, observed, with_context

METRIC = Perplexity(data="docs", length=32, stride=12, tokens=1200)


def direct_nats(folder: Path, ids: Sequence[int], length: int, stride: int) -> list[float]:
    """Nats of all ids but the first: each seen by the first window that holds it, one window at a time."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder)
    nats: dict[int, float] = {}
    starts = sorted({min(start, len(ids) - length) for start in range(0, len(ids), stride)})
    for start in starts:
        window = torch.tensor([ids[start : start + length]])
        with torch.inference_mode():
            log = torch.log_softmax(model(window).logits[0].double(), dim=-1)
        for offset in range(1, length):
            nats.setdefault(start + offset, -float(log[offset - 1, window[0, offset]]))
    return [nats[place] for place in range(1, len(ids))]


def nats_of(values: Sequence[float], *, size: int = 4, digest: str = "a") -> Observation:
    """As observed: windows of `size` tokens, each a record of its own with 10 bytes."""
    windows = np.arange(len(values)) // size
    texts = [f"{number}" for number in range(windows[-1] + 1)]
    return {
        "nats": np.array(values, np.float32),
        "windows": windows,
        "records": windows,
        "bytes": np.full(len(texts), 10),
        "texts": texts,
        "digest": digest,
        "length": 8,
        "stride": size,
    }


def test_it_equals_what_transformers_computes(causal: Model, causal_runner: TorchCausalRunner) -> None:
    texts = [text_of(record) for record in RECORDS[:3]]
    end = causal.spec.generation.end[0]
    ids = [token for text in texts for token in [end, *causal_runner.encode([text])[0]]]
    metric = METRIC.model_copy(update={"tokens": len(ids)})
    rounds = observed(metric, causal, causal_runner)
    value, bits = metric.compare(rounds, rounds, 0)
    nats = direct_nats(causal.path, ids, 32, 12)
    assert value.candidate.value == pytest.approx(math.exp(np.mean(nats)), rel=1e-4)
    size = len("".join(texts).encode())
    assert bits.candidate.value == pytest.approx(sum(nats) / math.log(2) / size, rel=1e-4)
    assert value.difference == bits.difference == Interval.exactly(0)
    assert (value.protocol["tokens"], value.protocol["records"]) == (len(ids), 3)
    assert (value.protocol["length"], value.protocol["stride"], value.protocol["split"]) == (32, 12, "test")


def test_damage_shows(
    causal: Model, damaged: Model, causal_runner: TorchCausalRunner, damaged_runner: TorchCausalRunner
) -> None:
    metric = METRIC.model_copy(update={"tokens": 400})
    before, after = observed(metric, causal, causal_runner), observed(metric, damaged, damaged_runner)
    value, bits = metric.compare(before, after, 0)
    assert value.protocol["digest"] == before[0]["digest"] == after[0]["digest"]
    assert value.candidate.value != value.baseline.value
    assert value.difference.value == pytest.approx(value.candidate.value / value.baseline.value - 1)
    assert bits.difference.value == pytest.approx(bits.candidate.value / bits.baseline.value - 1)


def test_windows_judge_each_token_once_with_enough_before_it() -> None:
    for tokens, length, stride in ((10, 4, 2), (11, 4, 3), (100, 32, 7), (5, 4, 1), (64, 64, 32), (9, 20, 3)):
        starts, counts = sliding_windows(tokens, length, stride)
        size = min(length, tokens)
        windows = list(zip(starts, counts, strict=True))
        judged = [place for start, count in windows for place in range(start + size - count, start + size)]
        assert judged == list(range(1, tokens))
        assert all(size - count >= length - stride for count in counts[1:])


def test_the_difference_is_paired_by_window() -> None:
    before = np.random.default_rng(0).normal(3.0, 1.0, 400)
    value, bits = METRIC.compare([nats_of(before)], [nats_of(before + 0.01)], 0)
    assert value.difference.value == pytest.approx(math.expm1(0.01), rel=1e-3)
    assert value.difference.high - value.difference.low < 1e-6
    assert value.candidate.high - value.candidate.low > 0.1
    assert bits.candidate.value == pytest.approx((before.mean() + 0.01) * 4 / 10 / math.log(2), rel=1e-5)


def test_other_tokens_are_compared_by_bits_per_byte_of_the_records_both_read() -> None:
    before = nats_of([1.0] * 12)
    after = nats_of([3.0] * 16, size=8, digest="b") | {"stride": 4}
    value, bits = METRIC.compare([before], [after], 0)
    assert (value.baseline, value.difference) == (None, None)
    assert value.candidate.value == pytest.approx(math.exp(3))
    # Two records are common: 4 tokens of 1 nat each against 8 of 3.
    assert bits.baseline.value == pytest.approx(8 / math.log(2) / 20)
    assert bits.candidate.value == pytest.approx(48 / math.log(2) / 20)
    assert bits.difference.value == pytest.approx(5)


def test_other_windows_are_not_compared(causal: Model, causal_runner: TorchCausalRunner) -> None:
    shorter = observed(METRIC, with_context(causal, 16), causal_runner)
    values = METRIC.compare(observed(METRIC, causal, causal_runner), shorter, 0)
    assert [(value.baseline, value.difference) for value in values] == [(None, None)] * 2
    assert values[0].protocol["length"] == 16


def test_the_last_record_is_cut_to_the_tokens_asked_for(
    causal: Model, causal_runner: TorchCausalRunner
) -> None:
    texts = ["naïve " * 40, "Straße " * 40]
    text = running_text(causal_runner, causal.spec, [Record(text=part) for part in texts], 500)
    assert text.texts[0] == texts[0]
    assert texts[1].startswith(text.texts[1])
    end = causal.spec.generation.end[0]
    assert text.rows == [[end, *row] for row in causal_runner.encode(text.texts)]
    assert 450 < len(text.ids) <= 500
    assert np.bincount(text.records).tolist() == [len(row) for row in text.rows]


def test_a_tokenizer_that_begins_texts_with_the_end_token_does_so_once(
    causal: Model, causal_runner: TorchCausalRunner
) -> None:
    class Beginning(TorchCausalRunner):
        def __init__(self) -> None:
            self.prompts = causal_runner.prompts

        def encode(self, texts: Sequence[str]) -> list[list[int]]:
            return [[0, *row] for row in super().encode(texts)]

    text = running_text(Beginning(), causal.spec, RECORDS, 300)
    assert text.ids.tolist() == running_text(causal_runner, causal.spec, RECORDS, 300).ids.tolist()


def test_one_window_is_refused(causal: Model, causal_runner: TorchCausalRunner) -> None:
    context = dataclasses.replace(CONTEXT, records={("docs", "test"): [Record(text="short")]})
    with pytest.raises(RecipeError, match="which is one window"):
        observed(METRIC, causal, causal_runner, context)


def test_losses_of_nan_fail_the_measurement(causal: Model, causal_runner: TorchCausalRunner) -> None:
    class Broken(TorchCausalRunner):
        def __init__(self) -> None:
            self.__dict__ |= causal_runner.__dict__

        def loss(self, inputs: Inputs) -> Floats:
            return super().loss(inputs) * np.float32("nan")

    with pytest.raises(StageError, match="gives NaN or infinity"):
        observed(METRIC, causal, Broken())


def test_a_runtime_that_takes_one_row_gives_the_same(causal: Model, causal_runner: TorchCausalRunner) -> None:
    class OneRow(TorchCausalRunner):
        max_batch = 1

        def __init__(self) -> None:
            self.__dict__ |= causal_runner.__dict__

        def logits(self, inputs: Inputs) -> Floats:
            self.check_room(inputs, 0)
            return super().logits(inputs)

    (one,), (many,) = observed(METRIC, causal, OneRow()), observed(METRIC, causal, causal_runner)
    np.testing.assert_allclose(one["nats"], many["nats"], rtol=1e-4, atol=1e-5)


def test_windows_without_a_token_before_them_are_refused() -> None:
    with pytest.raises(ValidationError, match="stride must be smaller than length"):
        Perplexity(data="docs", length=32, stride=32)
