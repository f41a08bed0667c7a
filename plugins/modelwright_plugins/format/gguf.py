"""GGUF files, run by llama.cpp."""

from __future__ import annotations

from pathlib import Path

from modelwright.api.format import Format
from modelwright.api.model import Model, ModelSize
from modelwright.api.runner import Runner
from modelwright.api.target import Target
from modelwright.errors import RecipeError
from modelwright_plugins.gguf.header import MODEL_FILE, not_finite, read_header
from modelwright_plugins.gguf.llama_cpp_library import llama_cpp_version


class GGUF(Format, name="gguf", requires=("gguf>=0.19,<0.20",)):
    """A folder with `model.gguf` and the tokenizer.

    llama-cpp-python is not among what it requires: a file can be written and checked without it, for a
    llama.cpp elsewhere. The runner takes it, and says so.
    """

    @classmethod
    def versions(cls) -> dict[str, str]:
        """llama-cpp-python's too, where it is: figures are its."""
        return super().versions() | llama_cpp_version()

    def check(self, path: Path, *, deep: bool = False) -> None:
        """The header reads and the file is long enough; `deep` looks for NaN and infinity.

        In quantized weights these can only be in the scales of the blocks.
        """
        header = read_header(path)
        if not header.tensors:
            raise RecipeError("The GGUF file holds no weights.", where=str(path / MODEL_FILE))
        for tensor, count in not_finite(path / MODEL_FILE, header.tensors) if deep else ():
            raise RecipeError(
                f"The weights hold {count:,} values that are NaN or infinite, first in '{tensor}'.",
                where=str(path / MODEL_FILE),
                hint="use a checkpoint whose weights are finite in the stored type (F16 ends at 65504)",
            )

    def size(self, path: Path) -> ModelSize:
        """Weights and bytes, scales included, from the header."""
        tensors = read_header(path).tensors.values()
        return ModelSize(
            parameters=sum(tensor.elements for tensor in tensors),
            weight_bytes=sum(tensor.end - tensor.start for tensor in tensors),
        )

    def runner(self, model: Model, target: Target) -> Runner:
        """llama.cpp; needs no torch. Raises MissingError without it, or for a device it has not."""
        from modelwright_plugins.format.gguf_runner import GGUFRunner

        return GGUFRunner(model, target)
