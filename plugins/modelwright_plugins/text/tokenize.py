"""Token ids for a text encoder, by the `tokenizers` library alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from modelwright.api.runner import Inputs
from modelwright.errors import RecipeError

TOKENIZER_FILE = "tokenizer.json"


class TextTokenizer:
    """Tokenizes batches of texts as the checkpoint's own tokenizer does, padded to the longest of the batch.

    >>> TextTokenizer(folder, max_length=256)(["a text", "another"])["input_ids"].shape
    (2, 4)

    Arrays are int64 of shape [batch, length]: `input_ids`, `attention_mask`, `token_type_ids`.
    """

    def __init__(self, folder: Path, max_length: int) -> None:
        self._tokenizer = open_tokenizer(folder)
        padding = self._tokenizer.padding or {}
        self._tokenizer.enable_truncation(max_length)
        self._tokenizer.enable_padding(
            pad_id=padding.get("pad_id", 0), pad_token=padding.get("pad_token", "[PAD]")
        )
        self.vocabulary_size = self._tokenizer.get_vocab_size()

    @property
    def largest_id(self) -> int:
        """The largest id it can give."""
        return max(self._tokenizer.get_vocab().values(), default=-1)

    def __call__(self, texts: Sequence[str]) -> Inputs:
        """Token inputs for a batch."""
        encodings = self._tokenizer.encode_batch_fast(list(texts))
        return {
            "input_ids": np.array([encoding.ids for encoding in encodings], dtype=np.int64),
            "attention_mask": np.array([encoding.attention_mask for encoding in encodings], dtype=np.int64),
            "token_type_ids": np.array([encoding.type_ids for encoding in encodings], dtype=np.int64),
        }

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """Tokens in each text, after truncation."""
        return [sum(encoding.attention_mask) for encoding in self._tokenizer.encode_batch_fast(list(texts))]

    def sample(self, batch: int, length: int, seed: int) -> Inputs:
        """Random ids of shape [batch, length] with nothing padded."""
        shape = (batch, length)
        # Low ids are the special and unused tokens of most vocabularies.
        low = min(1000, self.vocabulary_size // 2)
        ids = np.random.default_rng(seed).integers(low, self.vocabulary_size, shape, dtype=np.int64)
        return {
            "input_ids": ids,
            "attention_mask": np.ones(shape, np.int64),
            "token_type_ids": np.zeros(shape, np.int64),
        }


def open_tokenizer(folder: Path) -> Tokenizer:
    """The folder's tokenizer. Raises RecipeError when there is none or it does not read."""
    file = folder / TOKENIZER_FILE
    if not file.is_file():
        raise RecipeError(
            "The model folder has no fast tokenizer.",
            where=str(file),
            accepted=f"a {TOKENIZER_FILE} beside the weights",
            hint="AutoTokenizer.from_pretrained(folder).save_pretrained(folder) writes it",
        )
    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises nothing narrower
        raise RecipeError(
            f"The tokenizer does not read: {error}.",
            where=str(file),
            hint="AutoTokenizer.from_pretrained(folder).save_pretrained(folder) writes it anew",
        ) from error
