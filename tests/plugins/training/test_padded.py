"""Padding is what a network takes for padding."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch", reason="needs torch")
pytest.importorskip("transformers", reason="needs transformers")

import torch
import transformers

from modelwright_plugins.training.example import Example
from modelwright_plugins.training.padded import padded

TEXTS = ((5, 6, 7, 8, 9), (10, 11), (0, 12, 0))


def network(auto: str, **config: Any) -> Any:
    torch.manual_seed(0)
    sizes = {"vocab_size": 32, "num_labels": 3, **config}
    made = transformers.AutoConfig.for_model(sizes.pop("model_type"), **sizes)
    return getattr(transformers, auto).from_config(made).eval()


LLAMA = {
    "model_type": "llama",
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
}
GPT2 = {"model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 4}
BERT = {**LLAMA, "model_type": "bert"}


@pytest.mark.parametrize("config", [LLAMA, GPT2, BERT], ids=lambda config: config["model_type"])
def test_a_classifier_gives_a_text_in_a_batch_what_it_gives_it_alone(config: dict[str, Any]) -> None:
    classifier = network("AutoModelForSequenceClassification", **config, pad_token_id=31)
    examples = [Example(tokens, number, "train") for number, tokens in enumerate(TEXTS)]
    with torch.no_grad():
        together = classifier(**padded(examples, classifier)).logits
        alone = torch.cat([classifier(**padded([example], classifier)).logits for example in examples])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_what_has_no_padding_token_is_masked_all_the_same() -> None:
    inputs = padded(
        [Example((4, 5, 6), 0, "train"), Example((7,), 1, "train")], network("AutoModel", **LLAMA)
    )
    assert inputs["input_ids"].tolist() == [[4, 5, 6], [7, 0, 0]]
    assert inputs["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]


def test_a_teacher_pads_as_it_was_trained_to() -> None:
    """Both read the last token; what pads one is text to the other."""
    from modelwright_plugins.distill.teacher_logits import RunningTeacher

    teacher = network("AutoModelForSequenceClassification", **LLAMA, pad_token_id=31)
    student = network("AutoModelForSequenceClassification", **LLAMA, pad_token_id=30)
    examples = [Example(tokens, number, "train") for number, tokens in enumerate(TEXTS)]
    found, _ = RunningTeacher(teacher)(examples, padded(examples, student))
    with torch.no_grad():
        torch.testing.assert_close(found, teacher(**padded(examples, teacher)).logits)


def test_a_padding_token_that_is_none_is_not_looked_up() -> None:
    inputs = padded(
        [Example((4, 5), 0, "train"), Example((7,), 1, "train")],
        network("AutoModel", **LLAMA, pad_token_id=-1),
    )
    assert inputs["input_ids"].tolist() == [[4, 5], [7, 0]]
