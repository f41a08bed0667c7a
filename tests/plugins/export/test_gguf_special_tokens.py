from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from modelwright.api.model import Model
from modelwright_plugins.export.gguf import ExportGGUF
from modelwright_plugins.format.torch import Torch
from modelwright_plugins.gguf.header import Value, read_header
from tests.plugins.stage_context import FolderContext

pytest.importorskip("gguf", reason="needs the gguf extra")

TEMPLATE = "{% for message in messages %}{{ message.content }}{% endfor %}"
Said = Callable[[Mapping[str, Any]], dict[str, Value]]


@pytest.fixture
def said(tiny_causal: Model, tmp_path: Path) -> Said:
    """The metadata of a file made of the tiny Llama with other JSON files."""

    def export(files: Mapping[str, Any]) -> dict[str, Value]:
        folder = shutil.copytree(tiny_causal.path, tmp_path / "checkpoint")
        for name, value in files.items():
            (folder / name).write_text(value if isinstance(value, str) else json.dumps(value))
        context = FolderContext(tmp_path / "export")
        result = context.apply(ExportGGUF(type="Q8_0"), Model(folder, Torch().describe(folder), ""))
        return read_header(result.path).metadata

    return export


def ids(metadata: dict[str, Value]) -> dict[str, Value]:
    prefix, suffix = "tokenizer.ggml.", "_token_id"
    return {
        key.removeprefix(prefix).removesuffix(suffix): value
        for key, value in metadata.items()
        if key.endswith(suffix)
    }


def test_special_tokens_and_nothing_added(said: Said) -> None:
    metadata = said({})
    assert ids(metadata) == {"bos": 0, "eos": 0}
    assert metadata["tokenizer.ggml.add_bos_token"] is False
    assert metadata["tokenizer.ggml.add_eos_token"] is False
    assert "tokenizer.chat_template" not in metadata


def test_several_ends_and_a_padding_token(said: Said) -> None:
    metadata = said({"generation_config.json": {"eos_token_id": [5, 7], "pad_token_id": 9}})
    assert ids(metadata) == {"bos": 0, "eos": 5, "eot": 7, "padding": 9}


def test_the_chat_template_is_carried_over_from_its_file(said: Said) -> None:
    assert said({"chat_template.jinja": TEMPLATE})["tokenizer.chat_template"] == TEMPLATE


def test_the_chat_template_is_carried_over_from_the_configuration(said: Said) -> None:
    named = [{"name": "default", "template": TEMPLATE}, {"name": "tool_use", "template": "{{ tools }}"}]
    metadata = said({"tokenizer_config.json": {"chat_template": named}})
    assert metadata["tokenizer.chat_template"] == TEMPLATE
    assert metadata["tokenizer.chat_template.tool_use"] == "{{ tools }}"
