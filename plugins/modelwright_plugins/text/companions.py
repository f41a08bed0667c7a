"""The files that travel with a text model through every format: its tokenizer and its configuration."""

from __future__ import annotations

import shutil
from pathlib import Path

COMPANIONS = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "modules.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "1_Pooling/config.json",
)


def copy_companions(source: Path, out: Path) -> None:
    """Copy the tokenizer and configuration files that `source` has into `out`."""
    for name in COMPANIONS:
        if (source / name).is_file() and not (out / name).exists():
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, out / name)
