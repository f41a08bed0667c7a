"""Texts that quantizers calibrate on and compare with."""

from __future__ import annotations

import random

from modelwright.api.context import StageContext
from modelwright.api.dataset import Split, text_of
from modelwright.api.model import Model
from modelwright.api.runner import Inputs
from modelwright.errors import RecipeError
from modelwright_plugins.text.tokenize import TextTokenizer


def text_batches(model: Model, ctx: StageContext, data: str, split: Split, count: int) -> list[Inputs]:
    """Up to `count` texts of a split, chosen by the seed, each a batch of its own so that none is padded.

    Arrays are int64 [1, length]. Raises RecipeError when the split has no text.
    """
    texts = [text for record in ctx.data(data, split) if (text := text_of(record))]
    if not texts:
        raise RecipeError(f"The {split} split of '{data}' has no text.", where=ctx.where("data"))
    if len(texts) < count:
        ctx.log.warning("%d texts in the %s split, fewer than the %d asked for", len(texts), split, count)
    chosen = random.Random(ctx.seed).sample(texts, min(count, len(texts)))
    tokenizer = TextTokenizer(model.path, model.spec.max_length)
    return [tokenizer([text]) for text in chosen]
