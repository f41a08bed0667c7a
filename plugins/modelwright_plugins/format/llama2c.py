"""llama2.c's model files, run by a NumPy runner of our own."""

from __future__ import annotations

from pathlib import Path

from modelwright.api.format import Format
from modelwright.api.model import Model, ModelSize
from modelwright.api.runner import Runner
from modelwright.api.target import Target
from modelwright.errors import RecipeError
from modelwright_plugins.llama2c.layout import TABLES, parts
from modelwright_plugins.llama2c.read import MODEL_FILE, not_finite, read_header
from modelwright_plugins.llama2c.tokenizer_file import TOKENIZER_FILE, read_tokenizer


class Llama2c(Format, name="llama2c"):
    """A folder with `model.bin`, for llama2.c's programs `tokenizer.bin`, and the tokenizer."""

    files = (MODEL_FILE, TOKENIZER_FILE)

    def check(self, path: Path, *, deep: bool = False) -> None:
        """The headers are plausible and the files as long as they say; `deep` looks for NaN and infinity."""
        header = read_header(path / MODEL_FILE)
        file = path / TOKENIZER_FILE
        if file.is_file():
            read_tokenizer(file, header.vocabulary)
        for tensor, count in not_finite(path / MODEL_FILE, header) if deep else ():
            raise RecipeError(
                f"The weights hold {count:,} values that are NaN or infinite, first in '{tensor}'.",
                where=str(path / MODEL_FILE),
                hint="use a checkpoint whose training did not diverge",
            )

    def size(self, path: Path) -> ModelSize:
        """Weights and their bytes, scales included, by the header; version 0's rotary tables are none."""
        weights = [part for part in parts(read_header(path / MODEL_FILE)) if part.name not in TABLES]
        return ModelSize(
            parameters=sum(part.elements for part in weights),
            weight_bytes=sum(part.nbytes for part in weights),
        )

    def runner(self, model: Model, target: Target) -> Runner:
        """NumPy on the CPU, for validation; needs no torch. Raises MissingError for another device."""
        from modelwright_plugins.format.llama2c_runner import Llama2cRunner

        return Llama2cRunner(model, target)
