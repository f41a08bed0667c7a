"""Texts that compression calibrates on and compares with."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable

from modelwright.api.context import StageContext
from modelwright.api.dataset import Split, text_of
from modelwright.api.model import GenerationSpec, Model
from modelwright.api.runner import Inputs
from modelwright.errors import RecipeError
from modelwright_plugins.text.prompts import PromptTokenizer
from modelwright_plugins.text.tokenize import TextTokenizer


def calibration_batches(
    model: Model, ctx: StageContext, data: str, split: Split, samples: int, length: int
) -> list[Inputs]:
    """Up to `samples` pieces of a split, each a batch of its own so that none is padded.

    For a model that generates, a piece is `length` tokens (or the whole context) of the texts run together,
    chosen by the seed; for others, a text. Arrays are int64 [1, length]. Raises RecipeError where a split
    has no text, or less than one piece.
    """
    if model.spec.task == "generate":
        return token_windows(model, ctx, data, split, samples, min(length, model.spec.max_length))
    return text_batches(model, ctx, data, split, samples)


def text_batches(model: Model, ctx: StageContext, data: str, split: Split, count: int) -> list[Inputs]:
    """Up to `count` texts of a split, chosen by the seed, each a batch of its own so that none is padded.

    Arrays are int64 [1, length]. Raises RecipeError when the split has no text.
    """
    texts = _texts(ctx, data, split)
    if len(texts) < count:
        ctx.log.warning("%d texts in the %s split, fewer than the %d asked for", len(texts), split, count)
    chosen = random.Random(ctx.seed).sample(texts, min(count, len(texts)))
    tokenizer = TextTokenizer(model.path, model.spec.max_length)
    return [tokenizer([text]) for text in chosen]


def token_windows(
    model: Model, ctx: StageContext, data: str, split: Split, samples: int, length: int
) -> list[Inputs]:
    """Up to `samples` windows of `length` tokens of a split's texts, run together in the seed's order.

    Arrays are int64 [1, length]. Raises RecipeError where the split has less than one window.
    """
    assert model.spec.generation is not None, "a model of task generate says how it generates"
    prompts = PromptTokenizer(model.path, model.spec.generation)
    texts = _texts(ctx, data, split)
    random.Random(ctx.seed).shuffle(texts)
    tokens = run_together(prompts, model.spec.generation, texts, samples * length)
    count = min(samples, len(tokens) // length)
    if not count:
        raise RecipeError(
            f"The {split} split of '{data}' has {len(tokens):,} tokens, fewer than one piece of {length:,}.",
            where=ctx.where("data"),
            hint="more texts, or a smaller length",
        )
    if count < samples:
        ctx.log.warning("%d pieces in the %s split, fewer than the %d asked for", count, split, samples)
    return [prompts.batch([tokens[start : start + length]]) for start in range(0, count * length, length)]


def run_together(
    prompts: PromptTokenizer, generation: GenerationSpec, texts: Iterable[str], enough: float = math.inf
) -> list[int]:
    """Token ids of texts one after the other, each with the token that ends it, until there are `enough`."""
    tokens: list[int] = []
    for text in texts:
        if len(tokens) >= enough:
            break
        tokens += [*prompts.encode([text])[0], *generation.end[:1]]
    return tokens


def _texts(ctx: StageContext, data: str, split: Split) -> list[str]:
    texts = [text for record in ctx.data(data, split) if (text := text_of(record))]
    if not texts:
        raise RecipeError(
            f"The {split} split of '{data}' has no text.",
            where=ctx.where("data"),
            hint=f"give it texts, or a larger share of the {split} split",
        )
    return texts
