"""Special tokens and the chat template of a checkpoint, as GGUF names them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelwright.api.model import GenerationSpec
from modelwright_plugins.format.json_file import read_json
from modelwright_plugins.gguf.vocabulary import Vocabulary

if TYPE_CHECKING:
    from gguf import GGUFWriter


def write_special_tokens(
    writer: GGUFWriter, folder: Path, vocabulary: Vocabulary, generation: GenerationSpec
) -> dict[str, int]:
    """Write the ids of the special tokens there are, and return them.

    What the tokenizer adds itself comes first; a text ends with the first of the model's end tokens, and
    the second stands for the end of a turn.
    """
    configs = [
        read_json(folder / name)
        for name in (
            "tokenizer_config.json",
            "special_tokens_map.json",
            "generation_config.json",
            "config.json",
        )
    ]
    ids = {text: index for index, text in enumerate(vocabulary.tokens)}
    ends = list(generation.end)
    found = {
        "bos": vocabulary.bos if vocabulary.bos is not None else _named(configs, "bos", ids),
        "eos": ends[0] if ends else _named(configs, "eos", ids),
        "eot": ends[1] if len(ends) > 1 else None,
        "unk": _named(configs, "unk", ids),
        "pad": _named(configs, "pad", ids),
    }
    if vocabulary.eos is not None:
        found["eos"] = vocabulary.eos
    kept = {name: index for name, index in found.items() if index is not None and index < len(ids)}
    for name, index in kept.items():
        getattr(writer, f"add_{name}_token_id")(index)
    return kept


def write_chat_template(writer: GGUFWriter, folder: Path) -> bool:
    """Write the chat template, or the named templates, where the checkpoint has any."""
    file = folder / "chat_template.jinja"
    template = (
        file.read_text(encoding="utf-8")
        if file.is_file()
        else read_json(folder / "tokenizer_config.json").get("chat_template")
    )
    if template:
        writer.add_chat_template(template)
    return bool(template)


def _named(configs: list[dict[str, Any]], name: str, ids: Mapping[str, int]) -> int | None:
    for config in configs:
        token = config.get(f"{name}_token")
        text = token.get("content") if isinstance(token, dict) else token
        if isinstance(text, str) and text in ids:
            return ids[text]
        index = config.get(f"{name}_token_id")
        if isinstance(index, int) and index >= 0:
            return index
    return None
