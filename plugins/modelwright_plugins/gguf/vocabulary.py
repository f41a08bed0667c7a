"""A tokenizer.json as GGUF's vocabulary: tokens, types, merges or scores, and what is added at the ends."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelwright.errors import RecipeError
from modelwright_plugins.format.json_file import read_json
from modelwright_plugins.gguf.pretokenizer import pretokenizer_name
from modelwright_plugins.gguf.sentencepiece import piece_scores, space_prefix
from modelwright_plugins.text.tokenize import TOKENIZER_FILE, open_tokenizer

if TYPE_CHECKING:
    from gguf import GGUFWriter, TokenType

_BYTE = re.compile(r"<0x[0-9A-Fa-f]{2}>")


@dataclass
class Vocabulary:
    """What GGUF says of a tokenizer.

    `model` is `gpt2` (byte-level BPE) or `llama` (BPE over pieces, as SentencePiece's). `bos` and `eos`
    are the tokens put before and after every text; None where there is none.
    """

    model: str
    pre: str
    tokens: list[str]
    types: Sequence[TokenType]
    merges: list[str] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    bos: int | None = None
    eos: int | None = None
    space_prefix: bool = False

    def write(self, writer: GGUFWriter) -> None:
        """The metadata `tokenizer.ggml.*`, but for the ids of special tokens."""
        writer.add_tokenizer_model(self.model)
        writer.add_tokenizer_pre(self.pre)
        writer.add_token_list(self.tokens)
        writer.add_token_types(self.types)
        if self.model == "llama":
            writer.add_token_scores(self.scores)
        elif self.merges:
            writer.add_token_merges(self.merges)
        writer.add_add_bos_token(self.bos is not None)
        writer.add_add_eos_token(self.eos is not None)
        writer.add_add_space_prefix(self.space_prefix)


def read_vocabulary(folder: Path, rows: int, pre: str | None, pre_field: str) -> Vocabulary:
    """The vocabulary of a checkpoint folder whose model embeds `rows` tokens.

    `pre` names llama.cpp's pre-tokenizer where it is not to be found out; `pre_field` is that parameter's
    place in the recipe. Raises RecipeError when the tokenizer does not fit the model, or GGUF it.
    """
    file = folder / TOKENIZER_FILE
    open_tokenizer(folder)  # refuses what the tokenizers library does not read
    tokenizer = read_json(file)
    where, model = str(file), tokenizer["model"]
    added = {int(token["id"]): token for token in tokenizer.get("added_tokens") or ()}
    if model.get("type") != "BPE":
        raise _refused(f"Its model is {model.get('type')}.", where, "BPE")
    texts = {int(index): text for text, index in model["vocab"].items()}
    texts |= {index: str(token["content"]) for index, token in added.items()}
    largest = max(texts, default=-1)
    if largest >= rows:
        raise RecipeError(
            f"The tokenizer gives ids up to {largest}, and the model embeds {rows} (0 to {rows - 1}).",
            where=where,
            hint="the tokenizer belongs to another checkpoint",
        )
    if model.get("continuing_subword_prefix") or model.get("end_of_word_suffix"):
        raise _refused("It marks the parts of a word.", where, "BPE without subword prefix or suffix")
    byte_level = _mentions(tokenizer.get("pre_tokenizer"), "ByteLevel")
    types = [_type(index, texts, added, model, byte_level=byte_level) for index in range(rows)]
    tokens = [texts.get(index, f"[PAD{index}]") for index in range(rows)]
    bos, eos = _ends(tokenizer, where)
    merges = [tuple(pair.split(" ", 1)) if isinstance(pair, str) else tuple(pair) for pair in model["merges"]]
    if byte_level:
        _check_normalizer(tokenizer, where)
        name = pre or pretokenizer_name(tokenizer, where, pre_field)
        return Vocabulary(
            "gpt2", name, tokens, types, merges=[" ".join(pair) for pair in merges], bos=bos, eos=eos
        )
    if not model.get("byte_fallback"):
        raise _refused("Its BPE is neither byte-level nor falls back to bytes.", where, "one of the two")
    scores = piece_scores(model["vocab"], merges, set(added), where)
    return Vocabulary(
        "llama",
        pre or "default",
        tokens,
        types,
        scores=[scores.get(index, 0.0) for index in range(rows)],
        bos=bos,
        eos=eos,
        space_prefix=space_prefix(tokenizer, where),
    )


def _type(
    index: int,
    texts: Mapping[int, str],
    added: Mapping[int, Mapping[str, Any]],
    model: Mapping[str, Any],
    *,
    byte_level: bool,
) -> TokenType:
    from gguf import TokenType

    if index not in texts:
        return TokenType.UNUSED
    if not byte_level and texts[index] == model.get("unk_token"):
        return TokenType.UNKNOWN
    if index in added:
        return TokenType.CONTROL if added[index].get("special") else TokenType.USER_DEFINED
    if not byte_level and _BYTE.fullmatch(texts[index]):
        return TokenType.BYTE
    return TokenType.NORMAL


def _ends(tokenizer: Mapping[str, Any], where: str) -> tuple[int | None, int | None]:
    """The tokens that the post-processor puts before and after a text."""
    ids = {token["content"]: int(token["id"]) for token in tokenizer.get("added_tokens") or ()}
    for step in _processors(tokenizer.get("post_processor")):
        if step.get("type") == "ByteLevel":
            continue
        if step.get("type") != "TemplateProcessing":
            raise _refused(
                f"Its post-processor is {step.get('type')}.", where, "TemplateProcessing, ByteLevel"
            )
        parts = [next(iter(part.items())) for part in step["single"]]
        middle = [kind for kind, _ in parts].index("Sequence")
        before, after = parts[:middle], parts[middle + 1 :]
        if len(before) > 1 or len(after) > 1:
            raise _refused(
                "It adds several special tokens.", where, "at most one before and one after a text"
            )
        first, last = ([ids[str(value["id"])] for _, value in side] for side in (before, after))
        return next(iter(first), None), next(iter(last), None)
    return None, None


def _processors(step: Any) -> list[dict[str, Any]]:
    if not isinstance(step, dict):
        return []
    if step.get("type") == "Sequence":
        return [inner for part in step["processors"] for inner in _processors(part)]
    return [step]


def _check_normalizer(tokenizer: Mapping[str, Any], where: str) -> None:
    # llama.cpp normalizes no byte-level text; of NFC, which Qwen's has, it takes that texts come so.
    kind = (tokenizer.get("normalizer") or {}).get("type")
    if kind not in (None, "NFC") and not (kind == "Sequence" and not tokenizer["normalizer"]["normalizers"]):
        raise _refused(f"Its normalizer is {kind}.", where, "none, NFC")


def _mentions(step: Any, kind: str) -> bool:
    if not isinstance(step, dict):
        return False
    return step.get("type") == kind or any(_mentions(inner, kind) for inner in step.get("pretokenizers", ()))


def _refused(reason: str, where: str, accepted: str) -> RecipeError:
    return RecipeError(f"llama.cpp has no such tokenizer. {reason}", where=where, accepted=accepted)
