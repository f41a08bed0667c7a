"""Texts as examples to distill on."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from modelwright.api.dataset import Record, Split, text_of
from modelwright.api.model import Model
from modelwright.errors import RecipeError
from modelwright_plugins.text.calibration import run_together
from modelwright_plugins.text.prompts import PromptTokenizer
from modelwright_plugins.text.tokenize import open_tokenizer
from modelwright_plugins.training.context import TrainingContext
from modelwright_plugins.training.example import Example, Examples

# Words of the pieces that texts are cut into: a title, a sentence or two, a paragraph, several.
PIECE_WORDS = (6, 16, 40, 100)


def task_examples(model: Model, ctx: TrainingContext, data: str, *, pieces: float, length: int) -> Examples:
    """What a model of its task is taught on: texts, trained on with `pieces`; labelled texts; or windows."""

    def of(split: Split) -> list[Example]:
        if model.spec.task == "embed":
            return text_examples(model, ctx, data, split, pieces=pieces if split == "train" else 0)
        if model.spec.task == "classify":
            return labelled_examples(model, ctx, data, split)
        return window_examples(model, ctx, data, split, min(length, model.spec.max_length))

    return Examples(of("train"), of("validation"))


def text_examples(
    model: Model, ctx: TrainingContext, data: str, split: Split, *, pieces: float
) -> list[Example]:
    """Each query, passage and text of a split once, cut at the model's longest, and `pieces` of them.

    Raises RecipeError where there is no text.
    """
    records = ctx.data(data, split)
    texts = [text for record in records for text in _texts_of(record) if text]
    texts += _pieces(texts, pieces, random.Random(ctx.seed))
    _require(texts, ctx, data, split)
    return [Example(ids, number, split) for number, ids in enumerate(_encode(model, [*dict.fromkeys(texts)]))]


def labelled_examples(model: Model, ctx: TrainingContext, data: str, split: Split) -> list[Example]:
    """Each text of a split with the number of its label, or None where it has none that the model knows."""
    records = [record for record in ctx.data(data, split) if text_of(record)]
    _require(records, ctx, data, split)
    numbers = {label: number for number, label in enumerate(model.spec.labels)}
    rows = _encode(model, [text_of(record) for record in records])
    return [
        Example(ids, number, split, numbers.get(record.get("label", "")))
        for number, (ids, record) in enumerate(zip(rows, records, strict=True))
    ]


def window_examples(
    model: Model, ctx: TrainingContext, data: str, split: Split, length: int
) -> list[Example]:
    """The texts of a split run together in the seed's order and cut into windows of `length` tokens.

    Raises RecipeError where there is less than one window.
    """
    assert model.spec.generation is not None, "a model of task generate says how it generates"
    prompts = PromptTokenizer(model.path, model.spec.generation)
    texts = [text for record in ctx.data(data, split) if (text := text_of(record))]
    _require(texts, ctx, data, split)
    random.Random(ctx.seed).shuffle(texts)
    tokens = run_together(prompts, model.spec.generation, texts)
    if len(tokens) < length:
        raise RecipeError(
            f"The {split} split of '{data}' has {len(tokens):,} tokens, fewer than one window of {length:,}.",
            where=ctx.where("data"),
            hint="more texts, or a smaller length",
        )
    starts = range(0, len(tokens) - length + 1, length)
    return [
        Example(tuple(tokens[start : start + length]), number, split) for number, start in enumerate(starts)
    ]


def _texts_of(record: Record) -> list[str]:
    """The query and the passage; of a record without, its text."""
    return [record.get("query", ""), record.get("passage", "")] if "query" in record else [text_of(record)]


def _pieces(texts: Iterable[str], times: float, rng: random.Random) -> list[str]:
    """Runs of words at random places, of each length about as many as cover a longer text so many times."""
    found: list[str] = []
    if not times:
        return found
    for text in texts:
        words = text.split()
        for count in PIECE_WORDS:
            for _ in range(max(1, int(times * len(words) / count)) if len(words) > count else 0):
                start = rng.randrange(len(words) - count + 1)
                found.append(" ".join(words[start : start + count]))
    return found


def _encode(model: Model, texts: Sequence[str]) -> list[tuple[int, ...]]:
    tokenizer = open_tokenizer(model.path)
    tokenizer.enable_truncation(model.spec.max_length)
    tokenizer.no_padding()
    return [tuple(encoding.ids) for encoding in tokenizer.encode_batch_fast([*texts])]


def _require(found: Sequence[object], ctx: TrainingContext, data: str, split: Split) -> None:
    if not found:
        raise RecipeError(
            f"The {split} split of '{data}' has no text to distill on.",
            where=ctx.where("data"),
            accepted="a data set whose splits train and validation have texts",
            hint=f"give it texts, or a larger share of the {split} split",
        )
