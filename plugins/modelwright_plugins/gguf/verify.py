"""Compares llama.cpp's token ids, from the file written, with those of tokenizer.json."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from modelwright.api.component import installed_version
from modelwright.errors import StageError
from modelwright_plugins.gguf.llama_cpp_library import DISTRIBUTION, import_llama_cpp
from modelwright_plugins.text.tokenize import open_tokenizer

# What pre-tokenizers differ on: case, contractions, digits, runs of spaces and lines, scripts, symbols.
TEXTS = (
    "Hello, world! It's 2024, isn't it? WE'LL see: they've 1234567 of 3.14159.",
    "def add(a, b):\n    return a + b\n\n\n\tprint(add(1,  22))   # 100%\r\n",
    "   leading and trailing spaces   ",
    "Überraschung für Ångström, naïve café; Привет, мир! 你好，世界。 こんにちは 안녕하세요 नमस्ते ١٢٣",
    "emoji 😀👩‍👩‍👧 tail; x²+y³=z⁴ ½ ™ — “quotes” …",
    "a/b\\c_d-e@f.g <tag attr='v'> {json: [1, 2]} $HOME ~> && ||\n \n  \n",
    "camelCaseAndPascalCase UPPERlower snake_case ABC123def",
    "",
)


def verify_tokens(file: Path, folder: Path, *, named: bool = False) -> dict[str, JsonValue]:
    """Tokenize sample texts with both; what to record: how many were compared, and which differ.

    Raises StageError for the first that differs, unless the recipe `named` the pre-tokenizer: some of
    llama.cpp's are not quite those of the models that they are named after. Without llama-cpp-python nothing
    is compared, and the record says so.
    """
    if installed_version(DISTRIBUTION) is None:
        return {"compared": 0, "reason": f"{DISTRIBUTION} is not installed"}
    tokenizer = open_tokenizer(folder)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    differing: list[JsonValue] = []
    with _LlamaVocabulary(file) as vocabulary:
        for text in TEXTS:
            expected, found = tokenizer.encode(text).ids, vocabulary.encode(text)
            if expected == found:
                continue
            if not named:
                raise _otherwise(file, text, expected, found)
            differing.append(text)
    return {"compared": len(TEXTS), "differing": differing}


def _otherwise(file: Path, text: str, expected: list[int], found: list[int]) -> StageError:
    pairs = enumerate(zip(expected, found, strict=False))
    place = next((i for i, pair in pairs if pair[0] != pair[1]), min(len(expected), len(found)))
    return StageError(
        f"llama.cpp would cut a text otherwise than tokenizer.json: token {place} of {text!r} is "
        f"{found[place : place + 3]}, and should be {expected[place : place + 3]}.",
        where=str(file),
        hint="name the pre-tokenizer that llama.cpp has for this model; the report then lists what differs",
    )


class _LlamaVocabulary:
    """The vocabulary of a GGUF file in llama.cpp, without the weights."""

    def __init__(self, file: Path) -> None:
        self._library: Any = import_llama_cpp()
        options = self._library.llama_model_default_params()
        options.vocab_only = True
        self._model = self._library.llama_model_load_from_file(str(file).encode(), options)
        if not self._model:
            raise StageError("llama.cpp does not load the vocabulary; see the log.", where=str(file))
        self._vocabulary = self._library.llama_model_get_vocab(self._model)

    def __enter__(self) -> _LlamaVocabulary:
        return self

    def __exit__(self, *_: object) -> None:
        self._library.llama_model_free(self._model)

    def encode(self, text: str) -> list[int]:
        """Ids with what is added at the ends; special tokens in the text count as such."""
        data = text.encode()
        room = len(data) + 8
        ids = (ctypes.c_int32 * room)()
        count = self._library.llama_tokenize(self._vocabulary, data, len(data), ids, room, True, True)
        return list(ids[: max(count, 0)])
