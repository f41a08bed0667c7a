"""A tokenizer.json as the tokens and scores of llama2.c's `tokenizer.bin`.

run.c starts from characters, looks up what each two neighbours make together, and keeps merging the two
whose result has the best score (Sennrich et al. 2016; Kudo & Richardson 2018, SentencePiece). A score of
minus the place of the merge makes that the order of tokenizer.json.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from modelwright.errors import RecipeError
from modelwright_plugins.format.json_file import read_json
from modelwright_plugins.llama2c.tokenizer_file import Piece
from modelwright_plugins.text.tokenize import TOKENIZER_FILE, open_tokenizer

# run.c looks for scores above -1e10: it never merges into a token that scores less.
NEVER = -1e11
_SPACE = "\N{LOWER ONE EIGHTH BLOCK}"
# What llama2.c's own export calls the ends of a text.
_BOS, _EOS = b"\n<s>\n", b"\n</s>\n"
_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def read_pieces(folder: Path, rows: int) -> tuple[list[Piece], list[str]]:
    """The tokens for a model that embeds `rows` of them, and how run.c's own encoder differs.

    Byte-level BPE gives each token's raw bytes. BPE over pieces, as converted from SentencePiece, keeps
    `<0x0A>` for a byte and has spaces for `▁`, as llama2.c's export has it. Rows without a token become
    `[PAD7]`. Raises RecipeError for another kind of tokenizer, or one that does not fit the model.
    """
    file = folder / TOKENIZER_FILE
    tokenizer = open_tokenizer(folder)  # refuses what the tokenizers library does not read
    text = read_json(file)
    where, model = str(file), text["model"]
    if model.get("type") != "BPE":
        raise _refused(f"Its model is {model.get('type')}.", where, "BPE")
    if model.get("continuing_subword_prefix") or model.get("end_of_word_suffix"):
        raise _refused("It marks the parts of a word.", where, "BPE without subword prefix or suffix")
    byte_level = "ByteLevel" in {*_kinds(text.get("pre_tokenizer")), *_kinds(text.get("decoder"))}
    if not byte_level and not model.get("byte_fallback"):
        raise _refused("Its BPE is neither byte-level nor falls back to bytes.", where, "one of the two")
    added = {int(token["id"]): token for token in text.get("added_tokens") or ()}
    largest = max((*model["vocab"].values(), *added), default=-1)
    if largest >= rows:
        raise RecipeError(
            f"The tokenizer gives ids up to {largest}, and the model embeds {rows} (0 to {rows - 1}).",
            where=where,
            hint="the tokenizer belongs to another checkpoint",
        )
    texts = {
        index: _bytes(token, where) if byte_level else token.replace(_SPACE, " ").encode()
        for token, index in model["vocab"].items()
        if index not in added
    }
    texts |= {index: str(token["content"]).encode() for index, token in added.items()}
    if not byte_level:
        texts |= _ends(read_json(folder / "config.json"), added)
    if any(not token for token in texts.values()):
        raise _refused("A token of it is empty.", where, "tokens of at least one byte")
    scores = _scores(model["vocab"], model["merges"], added)
    pieces = [
        Piece(texts.get(index, f"[PAD{index}]".encode()), scores.get(index, NEVER)) for index in range(rows)
    ]
    begins = tokenizer.encode("").ids
    return pieces, _differences(model["vocab"], begins, byte_level=byte_level)


def _bytes(token: str, where: str) -> bytes:
    """The bytes that a token of a byte-level vocabulary stands for."""
    strange = sorted({*token} - {*_BYTES})
    if strange:
        raise _refused(
            f"The token {token!r} has {strange[0]!r}, which stands for no byte.", where, "byte-level BPE"
        )
    return bytes(_BYTES[letter] for letter in token)


def _byte_letters() -> dict[str, int]:
    """GPT-2's letter for each byte: its own where it prints, else one past 255 (Radford et al. 2019)."""
    own = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in own]
    return {chr(byte): byte for byte in own} | {chr(256 + place): byte for place, byte in enumerate(others)}


_BYTES = _byte_letters()


def _ends(config: Mapping[str, Any], added: Mapping[int, Any]) -> dict[int, bytes]:
    """llama2.c's text for the tokens that begin and end a text."""
    named = ((config.get("bos_token_id"), _BOS), (config.get("eos_token_id"), _EOS))
    return {index: text for index, text in named if isinstance(index, int) and index in added}


def _scores(
    vocabulary: Mapping[str, int],
    merges: Sequence[str | Sequence[str]],
    added: Mapping[int, Mapping[str, Any]],
) -> dict[int, float]:
    """Minus the place of what each merge makes, by token id; special tokens are made of nothing."""
    scores: dict[int, float] = {}
    for merge in merges:
        first, second = merge.split(" ", 1) if isinstance(merge, str) else merge
        index = vocabulary.get(first + second)
        if index is not None and not (index in added and added[index].get("special")):
            scores.setdefault(index, -float(len(scores)))
    return scores


def _differences(vocabulary: Mapping[str, int], begins: Sequence[int], *, byte_level: bool) -> list[str]:
    """Where run.c's encoder and loop, written for Llama 2's vocabulary, part from this tokenizer."""
    found = ["run.c stops at token 1 and at no other"]
    if list(begins) != [1]:
        own = ", ".join(map(str, begins)) or "none"
        found.append(f"run.c begins every text with token 1; this tokenizer with {own}")
    if byte_level:
        found.append("run.c puts a space before every text")
        found.append("run.c merges across words; this tokenizer cuts the text into words first")
        bytes_at = {
            _BYTES[letter]: index
            for letter, index in vocabulary.items()
            if len(letter) == 1 and letter in _BYTES
        }
    else:
        bytes_at = {
            int(match[1], 16): index
            for token, index in vocabulary.items()
            if (match := _BYTE.fullmatch(token))
        }
    if any(index != byte + 3 for byte, index in bytes_at.items()):
        found.append(
            "run.c takes a character that is no token for bytes whose ids are their values + 3, which is not "
            "so here: prompts beyond ASCII come out wrong"
        )
    return found


def _kinds(step: Any) -> list[str]:
    """The types of a step of a tokenizer and of those in it."""
    if not isinstance(step, dict):
        return []
    inner = [*step.get("pretokenizers", ()), *step.get("decoders", ())]
    return [str(step.get("type")), *(kind for part in inner for kind in _kinds(part))]


def _refused(reason: str, where: str, accepted: str) -> RecipeError:
    return RecipeError(
        f"llama2.c has no such tokenizer. {reason}",
        where=where,
        accepted=accepted,
        hint="set tokenizer_bin to false to write model.bin alone",
    )
