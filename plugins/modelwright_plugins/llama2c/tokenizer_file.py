"""llama2.c's `tokenizer.bin`: the bytes and the score of each token.

Source: llama2.c's `tokenizer.py` and `build_tokenizer` in `run.c`. A 32-bit integer with the length of the
longest token, then for each token a float32 score, a 32-bit length and its bytes, little-endian. How many
tokens there are is in `model.bin` only.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from modelwright.errors import RecipeError

TOKENIZER_FILE = "tokenizer.bin"
_COUNT = struct.Struct("<I")
_TOKEN = struct.Struct("<fI")


class Piece(NamedTuple):
    """One token: its bytes, at least one, and its score; run.c makes the merge that scores best."""

    text: bytes
    score: float


def write_tokenizer(file: Path, pieces: Sequence[Piece]) -> None:
    """Write the tokens in the order of their ids."""
    with file.open("wb") as stream:
        stream.write(_COUNT.pack(max(len(piece.text) for piece in pieces)))
        for piece in pieces:
            stream.write(_TOKEN.pack(piece.score, len(piece.text)) + piece.text)


def read_tokenizer(file: Path, vocabulary: int) -> list[Piece]:
    """The tokens of a file for a model that embeds `vocabulary`. Raises RecipeError when it is damaged."""
    data = file.read_bytes()
    pieces: list[Piece] = []
    try:
        longest, offset = _COUNT.unpack_from(data)[0], _COUNT.size
        for _ in range(vocabulary):
            score, length = _TOKEN.unpack_from(data, offset)
            offset += _TOKEN.size + length
            pieces.append(Piece(data[offset - length : offset], score))
    except struct.error as error:
        raise _damaged(file, f"it has fewer tokens than the {vocabulary:,} of the model") from error
    if offset != len(data):
        raise _damaged(file, f"{vocabulary:,} tokens need {offset:,} bytes and it has {len(data):,}")
    if max(len(piece.text) for piece in pieces) != longest:
        raise _damaged(file, f"it says that no token is longer than {longest} bytes, and one is")
    if not all(piece.text for piece in pieces):
        raise _damaged(file, "a token has no bytes")
    return pieces


def _damaged(file: Path, detail: str) -> RecipeError:
    return RecipeError(
        f"The tokenizer file is damaged or of another model: {detail}.",
        where=str(file),
        hint="export the model again, or copy the file again",
    )
