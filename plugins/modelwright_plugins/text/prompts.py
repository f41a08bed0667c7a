"""Token ids for a model that generates, by the `tokenizers` library alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from modelwright.api.model import GenerationSpec
from modelwright.api.runner import Inputs
from modelwright.errors import RecipeError
from modelwright_plugins.text.tokenize import TOKENIZER_FILE, open_tokenizer


class PromptTokenizer:
    """Encodes prompts as the checkpoint's own tokenizer does, in full length; batches are padded on the left.

    >>> prompts = PromptTokenizer(folder, spec.generation)
    >>> prompts.batch(prompts.encode(["a text", "another one"]))["input_ids"].shape
    (2, 5)

    Arrays are int64 of shape [batch, length]: `input_ids`, `attention_mask`. Raises RecipeError when the
    tokenizer gives ids that the model does not know.
    """

    def __init__(self, folder: Path, generation: GenerationSpec) -> None:
        self._tokenizer = open_tokenizer(folder)
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._generation = generation
        largest = max(self._tokenizer.get_vocab().values(), default=-1)
        if largest >= generation.vocabulary:
            raise RecipeError(
                f"The tokenizer gives ids up to {largest}, the model knows {generation.vocabulary} tokens.",
                where=str(folder / TOKENIZER_FILE),
                accepted=f"ids from 0 to {generation.vocabulary - 1}",
                hint="the tokenizer belongs to another checkpoint",
            )

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text; of an empty one the end of the text before it, as a model has to start."""
        start = [next(iter(self._generation.end), 0)]
        return [encoding.ids or start for encoding in self._tokenizer.encode_batch_fast(list(texts))]

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of ids, without special tokens."""
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=True))

    def batch(self, rows: Sequence[Sequence[int]]) -> Inputs:
        """Rows of ids as one batch of the longest row's length."""
        length = max(map(len, rows))
        ids = np.zeros((len(rows), length), np.int64)
        mask = np.zeros((len(rows), length), np.int64)
        for index, row in enumerate(rows):
            ids[index, length - len(row) :] = row
            mask[index, length - len(row) :] = 1
        return {"input_ids": ids, "attention_mask": mask}

    def sample(self, batch: int, length: int, seed: int) -> Inputs:
        """Random ids of shape [batch, length] with nothing padded, special tokens left out."""
        largest = min(self._tokenizer.get_vocab_size(), self._generation.vocabulary)
        special = [token for token in self._tokenizer.get_added_tokens_decoder() if token < largest]
        ordinary = np.setdiff1d(np.arange(largest), special)
        ids = np.random.default_rng(seed).choice(ordinary, (batch, length))
        return {"input_ids": ids, "attention_mask": np.ones((batch, length), np.int64)}
