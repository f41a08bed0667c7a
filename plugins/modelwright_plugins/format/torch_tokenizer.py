"""A fast tokenizer for checkpoints that only have the files of a slow one."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from modelwright.api.model import Model
from modelwright.errors import RecipeError
from modelwright_plugins.text.companions import copy_companions
from modelwright_plugins.text.tokenize import TOKENIZER_FILE

SLOW_TOKENIZER = ("tokenizer_config.json", "vocab.*", "*.model", "*.tiktoken")


def copy_with_fast_tokenizer(model: Model, out: Path) -> None:
    """Copy a checkpoint's tokenizer and configuration files; of a slow tokenizer write a fast one.

    Raises RecipeError where it has no tokenizer, or one that transformers cannot make a fast one of.
    """
    copy_companions(model.path, out)
    if not (out / TOKENIZER_FILE).exists():
        _save_fast_tokenizer(model, out)


def _save_fast_tokenizer(model: Model, out: Path) -> None:
    source = model.path
    if not any(next(source.glob(pattern), None) for pattern in SLOW_TOKENIZER):
        raise RecipeError(
            "The checkpoint has no tokenizer.",
            where=str(source),
            accepted=f"{TOKENIZER_FILE}, or the files of a slow tokenizer",
            hint="tokenizer.save_pretrained(folder) writes it, or copy it from the checkpoint's origin",
        )
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            source, trust_remote_code=model.spec.trust_remote_code, local_files_only=True
        )
    except (ImportError, KeyError, OSError, ValueError) as error:
        raise RecipeError(
            f"transformers makes no fast tokenizer of this checkpoint: {type(error).__name__}: {error}",
            where=str(source),
            accepted=TOKENIZER_FILE,
            hint="a sentencepiece or tiktoken file needs the package of that name; or save "
            f"{TOKENIZER_FILE} where it is installed",
        ) from error
    tokenizer.save_pretrained(out)


@contextmanager
def with_fast_tokenizer(model: Model) -> Iterator[Model]:
    """The model, or where it has no tokenizer.json a folder that has one, for as long as the block lasts."""
    if (model.path / TOKENIZER_FILE).is_file():
        yield model
        return
    with tempfile.TemporaryDirectory() as folder:
        _save_fast_tokenizer(model, Path(folder))
        yield dataclasses.replace(model, path=Path(folder))
