"""Which of llama.cpp's pre-tokenizers cuts a text as a tokenizer.json does.

llama.cpp has a fixed list of them, by name, compiled in; a GGUF file can only name one. They are told here
by the regular expressions and steps of tokenizer.json's `pre_tokenizer`, and only where both cut alike: its
`tekken`, say, parts combining marks from their letters, which Mistral's tokenizer does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelwright.errors import RecipeError

_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
# Steps of a pre-tokenizer, and whether whole words skip the merges (`ignore_merges`) -> llama.cpp's name.
_GPT2 = "byte-level words"
_NAMES: dict[tuple[tuple[str, ...], bool], str] = {
    ((_GPT2,), False): "gpt-2",
    (("single digits", _GPT2), False): "smollm",
    ((f"{_CONTRACTIONS}|{_WORDS}|\\p{{N}}{{1,3}}{_REST}",), True): "llama-bpe",
    ((f"{_CONTRACTIONS}|{_WORDS}|\\p{{N}}{{1,3}}{_REST}",), False): "dbrx",
    ((f"{_CONTRACTIONS}|{_WORDS}|\\p{{N}}{_REST}",), False): "qwen2",
}
NAMES = tuple(sorted(_NAMES.values()))


def pretokenizer_name(tokenizer: Mapping[str, Any], where: str, field: str) -> str:
    """llama.cpp's name for the `pre_tokenizer` of a byte-level tokenizer.json.

    Raises RecipeError when none of the known ones is meant; `field` is the parameter that names one anyway.
    """
    steps = tuple(_steps(tokenizer.get("pre_tokenizer")))
    whole = bool(tokenizer["model"].get("ignore_merges"))
    if (steps, whole) not in _NAMES:
        raise RecipeError(
            "The tokenizer cuts words in a way that export.gguf does not know a name of llama.cpp's for: "
            + (" + ".join(steps) or "not at all")
            + (", ignore_merges" if whole else ""),
            where=f"{where}, key pre_tokenizer",
            accepted=", ".join(NAMES),
            hint=f"if llama.cpp knows the model, name its pre-tokenizer with {field}",
        )
    return _NAMES[steps, whole]


def _steps(step: Any) -> list[str]:
    """The steps that cut, each as a word or its regular expression."""
    kind = step.get("type") if isinstance(step, dict) else None
    if kind == "Sequence":
        return [text for inner in step["pretokenizers"] for text in _steps(inner)]
    if kind == "ByteLevel":
        if step.get("add_prefix_space"):
            return ["a space before the text"]
        return [_GPT2] if step.get("use_regex", True) else []
    if kind == "Digits" and step.get("individual_digits"):
        return ["single digits"]
    if kind == "Split" and step.get("behavior") == "Isolated" and not step.get("invert"):
        return [str(step["pattern"].get("Regex", step["pattern"]))]
    return [str(kind)] if kind else []
