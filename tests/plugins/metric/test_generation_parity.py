from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest

from modelwright.api.dataset import Record, text_of
from modelwright.api.metric import Interval, Value
from modelwright.api.model import Model
from modelwright.api.runner import Decoder, Floats, Inputs, Tokens
from modelwright.errors import RecipeError, StageError
from modelwright_plugins.format.torch_causal_runner import TorchCausalRunner
from modelwright_plugins.metric import generation_parity
from modelwright_plugins.metric.generation_parity import GenerationParity
from modelwright_plugins.metric.greedy import first_divergences
from tests.plugins.metric.causal_models import CONTEXT, RECORDS, figure, observed

METRIC = GenerationParity(data="docs", prompts=6, length=20, new_tokens=10, batch=4)
EQUAL = {
    "logits_max_error": 0,
    "kl": 0,
    "top1": 1,
    "equal_tokens": 1,
    "equal_prompts": 1,
    "first_divergence": 10,
    "first_divergence_median": 10,
}


class Scripted:
    """A decoder that generates what it is told, whatever it is fed."""

    def __init__(self, rows: Sequence[Sequence[int]]) -> None:
        self._columns = iter(np.eye(264, dtype=np.float32)[np.array(rows).T])
        self.logits: Floats = next(self._columns)

    def step(self, tokens: Tokens) -> Floats:
        assert tokens.tolist() == self.logits.argmax(axis=1).tolist()
        self.logits = next(self._columns)
        return self.logits

    def cache_bytes(self) -> int | None:
        return None


class ScriptedRunner(TorchCausalRunner):
    """Another's logits; it generates a row of the script for each prompt, in turn."""

    def __init__(self, other: TorchCausalRunner, script: Sequence[Sequence[int]]) -> None:
        self.__dict__ |= other.__dict__
        self._script = list(script)

    def start(self, inputs: Inputs, new_tokens: int) -> Decoder:  # type: ignore[override]
        self.check_room(inputs, new_tokens)
        count = len(inputs["input_ids"])
        rows, self._script = self._script[:count], self._script[count:]
        return Scripted(rows)


class Unaware(TorchCausalRunner):
    """Another's, but for padding that it takes for text."""

    def __init__(self, other: TorchCausalRunner) -> None:
        self.__dict__ |= other.__dict__

    def logits(self, inputs: Inputs) -> Floats:
        return super().logits({**inputs, "attention_mask": np.ones_like(inputs["attention_mask"])})


def named(values: Sequence[Value], batch: int) -> dict[str, Value]:
    return {value.name.partition(".")[2]: value for value in values if value.at == {"batch": batch}}


def test_a_model_equals_itself_also_in_padded_batches(
    causal: Model, causal_runner: TorchCausalRunner
) -> None:
    rounds = observed(METRIC, causal, causal_runner)
    values = METRIC.compare(rounds, rounds, 0)
    alone = {name: value.candidate.value for name, value in named(values, 1).items()}
    padded = {name: value.candidate.value for name, value in named(values, 4).items()}
    assert alone == EQUAL
    assert padded == pytest.approx(EQUAL, abs=1e-4)
    assert padded["logits_max_error"] > 0  # computed anew, not the same array
    assert set(alone) == set(METRIC.figures)


def test_logits_are_those_of_transformers(
    causal: Model, damaged: Model, causal_runner: TorchCausalRunner, damaged_runner: TorchCausalRunner
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    before, after = observed(METRIC, causal, causal_runner), observed(METRIC, damaged, damaged_runner)
    values = named(METRIC.compare(before, after, 0), 1)
    lengths = [5, 10, 15, 20, 5, 10]
    rows = [row for row in causal_runner.encode([text_of(r) for r in RECORDS]) if len(row) >= 20]
    models = [AutoModelForCausalLM.from_pretrained(model.path) for model in (causal, damaged)]
    logits = []
    for model in models:
        with torch.inference_mode():
            parts = [model(torch.tensor([row[:n]])).logits[0] for row, n in zip(rows, lengths, strict=False)]
        logits.append(torch.cat(parts).double())
    p, q = (part.log_softmax(dim=-1) for part in logits)
    kl = (p.exp() * (p - q)).sum(dim=-1).mean()
    assert values["logits_max_error"].candidate.value == pytest.approx(
        float((logits[0] - logits[1]).abs().max()), rel=1e-4
    )
    assert values["kl"].candidate.value == pytest.approx(float(kl), rel=1e-4)
    same = (logits[0].argmax(dim=-1) == logits[1].argmax(dim=-1)).double().mean()
    assert values["top1"].candidate.value == pytest.approx(float(same))
    assert 0 < float(same) < 1
    assert values["kl"].protocol["positions"] == sum(lengths)


def test_greedy_tokens_are_those_that_transformers_generates(
    causal: Model, causal_runner: TorchCausalRunner
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    (found,) = observed(METRIC, causal, causal_runner)
    model = AutoModelForCausalLM.from_pretrained(causal.path)
    model.generation_config.eos_token_id = None
    rows = [row for row in causal_runner.encode([text_of(r) for r in RECORDS]) if len(row) >= 20]
    for row, length, tokens in zip(rows, (5, 10, 15, 20), found["tokens_1"], strict=False):
        ids = torch.tensor([row[:length]])
        expected = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=10, do_sample=False
        )
        assert tokens.tolist() == expected[0, length:].tolist()


def test_damage_shows_in_every_figure(
    causal: Model, damaged: Model, causal_runner: TorchCausalRunner, damaged_runner: TorchCausalRunner
) -> None:
    before, after = observed(METRIC, causal, causal_runner), observed(METRIC, damaged, damaged_runner)
    for batch in (1, 4):
        values = named(METRIC.compare(before, after, 0), batch)
        for name, value in values.items():
            worse = value.candidate.value < EQUAL[name]
            assert worse == (value.better == "higher"), name


def test_divergence_is_counted_by_hand(causal: Model, causal_runner: TorchCausalRunner) -> None:
    metric = METRIC.model_copy(update={"prompts": 3, "new_tokens": 4, "batch": 1})
    before = [[1, 2, 3, 4], [5, 6, 7, 8], [9, 9, 9, 9]]
    after = [[1, 2, 0, 4], [5, 6, 7, 8], [9, 9, 9, 0]]
    rounds = [observed(metric, causal, ScriptedRunner(causal_runner, rows)) for rows in (before, after)]
    values = {name: value.candidate.value for name, value in named(metric.compare(*rounds, 0), 1).items()}
    assert values["first_divergence"] == 2
    assert values["first_divergence_median"] == 3
    assert values["equal_tokens"] == pytest.approx(10 / 12)
    assert values["equal_prompts"] == pytest.approx(1 / 3)


def test_padding_taken_for_text_shows_only_where_there_is_padding(
    causal: Model, causal_runner: TorchCausalRunner
) -> None:
    before = observed(METRIC, causal, causal_runner)
    values = METRIC.compare(before, observed(METRIC, causal, Unaware(causal_runner)), 0)
    assert figure(values, "generation_parity.logits_max_error", batch=1).candidate == Interval.exactly(0)
    assert figure(values, "generation_parity.logits_max_error", batch=4).candidate.value > 0.1


def test_a_runtime_that_takes_one_row_is_not_asked_for_batches(
    causal: Model, causal_runner: TorchCausalRunner
) -> None:
    class OneRow(TorchCausalRunner):
        max_batch = 1

        def __init__(self) -> None:
            self.__dict__ |= causal_runner.__dict__

    both, alone = observed(METRIC, causal, causal_runner), observed(METRIC, causal, OneRow())
    assert {value.at["batch"] for value in METRIC.compare(both, alone, 0)} == {1}
    assert {value.at["batch"] for value in METRIC.compare(alone, both, 0)} == {1, 4}


def test_of_a_large_vocabulary_positions_are_kept_evenly(
    causal: Model, causal_runner: TorchCausalRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = observed(METRIC, causal, causal_runner)[0]
    monkeypatch.setattr(generation_parity, "MOST_LOGITS", 264 * 7)
    (found,) = observed(METRIC, causal, causal_runner)
    kept = np.linspace(0, 64, 7).round().astype(int)
    np.testing.assert_array_equal(found["logits_1"], whole["logits_1"][kept])
    np.testing.assert_allclose(found["logits_4"], whole["logits_4"][kept])
    protocol = METRIC.compare([found], [found], 0)[0].protocol
    assert (protocol["positions"], protocol["of_positions"]) == (7, 65)


def test_other_prompts_are_not_compared(causal: Model, causal_runner: TorchCausalRunner) -> None:
    before = observed(METRIC, causal, causal_runner)
    after = observed(METRIC.model_copy(update={"length": 21}), causal, causal_runner)
    assert METRIC.compare(before, after, 0) == []


def test_first_divergences() -> None:
    before = np.array([[1, 2, 3], [1, 2, 3], [1, 2, 3], [1, 2, 3]])
    after = np.array([[1, 2, 3], [0, 2, 3], [1, 2, 0], [1, 0, 3]])
    assert first_divergences(before, after).tolist() == [3, 0, 2, 1]


def test_too_few_texts_and_too_short_a_context_are_refused(
    causal: Model, causal_runner: TorchCausalRunner
) -> None:
    context = dataclasses.replace(CONTEXT, records={("docs", "test"): [Record(text="too short")] * 9})
    with pytest.raises(RecipeError, match="Only 0 texts of the data set have 20 tokens"):
        observed(METRIC, causal, causal_runner, context)
    METRIC.model_copy(update={"new_tokens": 44}).check(causal.spec)
    with pytest.raises(RecipeError, match="longer than the model's context of 64"):
        METRIC.model_copy(update={"new_tokens": 45}).check(causal.spec)


def test_logits_of_nan_fail_the_measurement(causal: Model, causal_runner: TorchCausalRunner) -> None:
    class Broken(TorchCausalRunner):
        def __init__(self) -> None:
            self.__dict__ |= causal_runner.__dict__

        def logits(self, inputs: Inputs) -> Floats:
            return super().logits(inputs) * np.float32("nan")

    with pytest.raises(StageError, match="gives NaN or infinity"):
        observed(METRIC, causal, Broken())
