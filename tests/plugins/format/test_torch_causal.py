from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelwright.api.model import Model
from modelwright.api.runner import GenerationRunner
from modelwright.api.target import Target
from modelwright.errors import RecipeError
from modelwright_plugins.format.torch import Torch
from modelwright_plugins.format.torch_causal_runner import TorchCausalRunner
from tests.plugins.greedy import greedy

PROMPTS = ["the cat", "an owl and the other one"]
ONE = Target(threads=1)


def with_cache(model: Model, kind: str) -> Model:
    return dataclasses.replace(model, spec=model.spec.model_copy(update={"details": {"cache": kind}}))


@pytest.fixture(scope="module")
def runner(tiny_causal: Model) -> TorchCausalRunner:
    return TorchCausalRunner(tiny_causal, ONE)


def from_transformers(folder: Path, rows: list[list[int]], count: int) -> list[list[int]]:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder)
    model.generation_config.eos_token_id = None
    found = []
    for row in rows:
        ids = torch.tensor([row])
        made = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=count, do_sample=False)
        found.append(made[0, len(row) :].tolist())
    return found


def test_it_computes_in_the_type_of_the_target(tiny_causal: Model, runner: TorchCausalRunner) -> None:
    other = TorchCausalRunner(tiny_causal, ONE.model_copy(update={"dtype": "bfloat16"}))
    assert (runner.describe()["dtype"], other.describe()["dtype"]) == ("float32", "bfloat16")
    assert (runner.cache_item_bytes, other.cache_item_bytes) == (4, 2)
    inputs = runner.sample(2, 12)
    difference = np.abs(other.logits(inputs) - runner.logits(inputs)).max()
    assert 0 < difference < 0.5


def test_the_description_says_how_it_generates(tiny_causal: Model) -> None:
    spec = Torch().describe(tiny_causal.path)
    assert (spec.task, spec.max_length) == ("generate", 64)
    assert spec.generation is not None
    assert (spec.generation.vocabulary, spec.generation.end) == (264, (0,))
    assert spec.generation.cache_elements == 2 * 2 * 2 * 16


def test_it_keeps_the_protocol(runner: TorchCausalRunner) -> None:
    assert isinstance(runner, GenerationRunner)
    assert runner.describe()["cache"] == "dynamic"


@pytest.mark.parametrize("kind", ["dynamic", "static"])
def test_greedy_tokens_are_those_of_transformers_in_a_padded_batch(tiny_causal: Model, kind: str) -> None:
    runner = TorchCausalRunner(with_cache(tiny_causal, kind), ONE)
    rows = runner.encode(PROMPTS)
    assert greedy(runner, rows, 20) == from_transformers(tiny_causal.path, rows, 20)


def test_without_a_cache_the_text_is_the_same(runner: TorchCausalRunner) -> None:
    assert runner.generate(PROMPTS, 12, use_cache=False) == runner.generate(PROMPTS, 12)


def test_a_text_ends_with_an_end_token(tiny_causal: Model, runner: TorchCausalRunner) -> None:
    rows = runner.encode(PROMPTS)
    tokens = greedy(runner, rows, 12)
    assert tiny_causal.spec.generation is not None
    ends = tiny_causal.spec.generation.model_copy(update={"end": (tokens[0][3],)})
    changed = dataclasses.replace(tiny_causal, spec=tiny_causal.spec.model_copy(update={"generation": ends}))
    stopping = TorchCausalRunner(changed, ONE)
    cut = tokens[0][: tokens[0].index(tokens[0][3])]
    assert stopping.generate(PROMPTS[:1], 12) == [runner.decode(cut)]


def test_the_cache_is_as_large_as_the_formula_and_in_eight_bits_a_quarter(tiny_causal: Model) -> None:
    assert tiny_causal.spec.generation is not None
    elements = tiny_causal.spec.generation.cache_elements
    assert elements is not None
    sizes = {}
    for kind in ("dynamic", "static", "quantized"):
        runner = TorchCausalRunner(with_cache(tiny_causal, kind), ONE)
        decoder = runner.start(runner.sample(3, 10), 5)
        decoder.step(decoder.logits.argmax(axis=-1))
        sizes[kind] = decoder.cache_bytes()
    assert sizes == {
        "dynamic": 3 * 11 * elements * 4,
        "static": 3 * 15 * elements * 4,
        "quantized": 3 * 11 * elements,
    }


def test_the_loss_is_that_of_transformers_and_padding_has_none(
    tiny_causal: Model, runner: TorchCausalRunner
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    rows = runner.encode(PROMPTS)
    losses = runner.loss(runner.batch(rows))
    model = AutoModelForCausalLM.from_pretrained(tiny_causal.path)
    for row, loss in zip(rows, losses, strict=True):
        ids = torch.tensor([row])
        assert loss.sum() / (len(row) - 1) == pytest.approx(model(ids, labels=ids).loss.item(), rel=1e-5)
        assert (loss[: len(loss) - len(row) + 1] == 0).all()


def test_run_gives_what_comes_next_and_reads_the_end_of_a_long_text(runner: TorchCausalRunner) -> None:
    text = "the cat sat on the mat and " * 12
    rows = runner.run([text, "", "x"])
    assert rows.shape == (3, 264)
    last = runner.batch([runner.encode([text])[0][-64:]])
    assert np.abs(rows[0] - runner.infer(last)[0]).max() < 1e-4


def test_a_prompt_beyond_the_context_is_refused(runner: TorchCausalRunner) -> None:
    with pytest.raises(
        RecipeError, match="The prompt has 60 tokens and 5 are to be added; the context of the model is 64"
    ):
        runner.start(runner.sample(1, 60), 5)


def test_no_tokens_are_no_wish(runner: TorchCausalRunner) -> None:
    with pytest.raises(RecipeError, match="max_new_tokens is 0"):
        runner.generate(PROMPTS, 0)


def test_sampling_follows_its_seed(runner: TorchCausalRunner) -> None:
    def sampled(seed: int) -> list[str]:
        return runner.generate(PROMPTS, 12, temperature=1.5, top_k=50, top_p=0.95, seed=seed)

    assert sampled(1) == sampled(1)
    assert sampled(1) != sampled(2)


@pytest.mark.parametrize("texts", ["abc", [3], ["one", None]])
def test_what_is_no_list_of_texts_is_refused(runner: TorchCausalRunner, texts: Any) -> None:
    with pytest.raises(RecipeError, match="generate takes a list of texts"):
        runner.generate(texts)
