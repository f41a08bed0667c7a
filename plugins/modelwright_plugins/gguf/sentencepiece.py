"""BPE over pieces, as converted from SentencePiece: llama.cpp merges by a score for each piece.

SentencePiece (Kudo & Richardson 2018) merges the pair whose result has the best score; tokenizer.json lists
pairs in order. The two agree where every split of a piece is listed and the splits of one piece lie
together, as they do in a tokenizer.json that was converted from a SentencePiece model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modelwright.errors import RecipeError

_SPACE = "\N{LOWER ONE EIGHTH BLOCK}"


def piece_scores(
    vocabulary: Mapping[str, int], merges: Sequence[tuple[str, ...]], added: set[int], where: str
) -> dict[int, float]:
    """A score by token id: minus the place of the piece among the merges.

    Raises RecipeError when scores cannot say what the merges say.
    """
    places: dict[str, int] = {}
    last = ""
    for first, second in merges:
        piece = first + second
        if piece in places and piece != last:
            raise _not_pieces(f"the splits of '{piece}' are not listed together", where)
        places.setdefault(piece, len(places))
        last = piece
    listed = {(first, second) for first, second in merges}
    for piece, index in vocabulary.items():
        splits = [(piece[:cut], piece[cut:]) for cut in range(1, len(piece))]
        if index in added or piece.startswith("<0x"):
            continue
        for split in splits:
            if split[0] in vocabulary and split[1] in vocabulary and split not in listed:
                raise _not_pieces(f"'{piece}' is not merged from '{split[0]}' and '{split[1]}'", where)
    return {vocabulary[piece]: -float(place) for piece, place in places.items() if piece in vocabulary}


def space_prefix(tokenizer: Mapping[str, Any], where: str) -> bool:
    """Whether a space is put before a text. Raises RecipeError for other ways to mark spaces."""
    normalizer, pre = tokenizer.get("normalizer"), tokenizer.get("pre_tokenizer")
    steps = [*_parts(normalizer, "normalizers"), *_parts(pre, "pretokenizers")]
    prefix = replaced = False
    for step in steps:
        kind = step.get("type")
        if kind == "Prepend" and step.get("prepend") == _SPACE:
            prefix = True
        elif kind == "Replace" and step.get("pattern") == {"String": " "} and step.get("content") == _SPACE:
            replaced = True
        elif kind == "Metaspace" and step.get("replacement") == _SPACE and not step.get("split", True):
            prefix, replaced = step.get("prepend_scheme", "always") != "never", True
        elif kind == "Split" and step.get("pattern") == {"String": " "}:
            continue  # nothing is left to split once spaces are replaced
        else:
            raise RecipeError(
                f"llama.cpp has no such tokenizer. A step of it is {kind}.",
                where=where,
                accepted="Prepend, Replace and Metaspace that turn spaces into '▁', without splitting",
            )
    if not replaced:
        raise RecipeError("llama.cpp has no such tokenizer. It does not turn spaces into '▁'.", where=where)
    return prefix


def _parts(step: Any, key: str) -> list[dict[str, Any]]:
    if not isinstance(step, dict):
        return []
    if step.get("type") == "Sequence":
        return [inner for part in step[key] for inner in _parts(part, key)]
    return [step]


def _not_pieces(detail: str, where: str) -> RecipeError:
    return RecipeError(
        f"llama.cpp merges pieces by score, and the merges of this tokenizer say more: {detail}.",
        where=f"{where}, key model.merges",
        accepted="byte-level BPE, or BPE converted from a SentencePiece model",
    )
