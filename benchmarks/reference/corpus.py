"""The data set as token ids."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from benchmarks.reference.vocabulary import END
from modelwright.api.dataset import Split
from modelwright_plugins.dataset.python_docs import PythonDocs

Ids = npt.NDArray[np.int64]


def documents(split: Split) -> list[str]:
    """The documents of one split, in the order of the data set."""
    return [record["text"] for record in PythonDocs(form="text").load(split)]


def encoded(tokenizer: Tokenizer, texts: Sequence[str]) -> list[Ids]:
    """The ids of each text, <|endoftext|> first."""
    return [np.array(row.ids, np.int64) for row in tokenizer.encode_batch(list(texts))]


def stream(tokenizer: Tokenizer, rows: Sequence[Ids]) -> Ids:
    """All texts one after the other, <|endoftext|> before, between and after them."""
    return np.concatenate([*rows, np.array([tokenizer.token_to_id(END)], np.int64)])


def sequences(
    tokenizer: Tokenizer, rows: Sequence[Ids], length: int, generator: np.random.Generator
) -> Iterator[Ids]:
    """Sequences of one length without end: each pass has an order and offset of its own."""
    while True:
        tokens = stream(tokenizer, [rows[index] for index in generator.permutation(len(rows))])
        tokens = tokens[generator.integers(length) :]
        yield from tokens[: len(tokens) // length * length].reshape(-1, length)
