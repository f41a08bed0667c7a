"""The records of a data set as one running text of token ids."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from modelwright.api.dataset import Record, text_of
from modelwright.api.model import ModelSpec
from modelwright.api.runner import GenerationRunner, Tokens

AT_ONCE = 64


@dataclass
class RunningText:
    """Token ids, the record that each comes from, and the records as they were read.

    `rows` are the ids by record, the end-of-text token before each where the model has one; `texts` what
    the ids stand for, of which the last may be the beginning of a record.
    """

    rows: list[list[int]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    @property
    def ids(self) -> Tokens:
        """All ids, of shape [tokens]."""
        return np.array([token for row in self.rows for token in row], np.int64)

    @property
    def records(self) -> Tokens:
        """The number of the record of each id, of shape [tokens]."""
        return np.repeat(np.arange(len(self.rows)), [len(row) for row in self.rows])

    @property
    def digest(self) -> str:
        """SHA-256 of the ids."""
        return hashlib.sha256(self.ids.astype("<i8").tobytes()).hexdigest()


def running_text(
    runner: GenerationRunner, spec: ModelSpec, records: Sequence[Record], tokens: int
) -> RunningText:
    """Records in their order until there are `tokens` ids; the last is cut to what fits.

    The end-of-text token stands before each record, also the first, so that the beginning of a text is
    predicted like the rest; a tokenizer that begins texts with it is left to do so.
    """
    end = list(spec.generation.end[:1]) if spec.generation else []
    found, room = RunningText(), tokens
    texts = [text for record in records if (text := text_of(record))]
    for first in range(0, len(texts), AT_ONCE):
        for text, ids in zip(
            texts[first : first + AT_ONCE], runner.encode(texts[first : first + AT_ONCE]), strict=True
        ):
            row = ids if ids[:1] == end else end + ids
            if len(row) > room:
                text, row = _cut(runner, end, text, row, room)
            if text:
                found.texts.append(text)
                found.rows.append(row)
                room -= len(row)
            if not text or room <= len(end):
                return found
    return found


def _cut(
    runner: GenerationRunner, end: list[int], text: str, row: list[int], room: int
) -> tuple[str, list[int]]:
    """The beginning of a text that has at most `room` ids; empty where none has.

    Text is cut, not ids, so that its bytes are known whatever the tokenizer.
    """
    while text and len(row) > room:
        text = text[: len(text) * room // len(row)]
        ids = runner.encode([text])[0]
        row = ids if ids[:1] == end else end + ids
    return text, row
