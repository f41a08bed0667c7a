"""One GGUF file of a checkpoint: metadata, vocabulary and weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from modelwright.api.model import GenerationSpec, Model
from modelwright.errors import RecipeError
from modelwright_plugins.format.json_file import read_json
from modelwright_plugins.gguf.architecture import find_architecture, read_shape, write_shape
from modelwright_plugins.gguf.checkpoint import read_weights
from modelwright_plugins.gguf.fit import check_kept_heads
from modelwright_plugins.gguf.rope import Rope
from modelwright_plugins.gguf.special_tokens import write_chat_template, write_special_tokens
from modelwright_plugins.gguf.tensors import Progress, write_tensors
from modelwright_plugins.gguf.vocabulary import read_vocabulary


@dataclass(frozen=True)
class WrittenFile:
    """What is in the file: matrices of another type than asked, pre-tokenizer, special tokens, context."""

    fallbacks: dict[str, str]
    pre: str
    special: dict[str, int]
    chat_template: bool
    context: int
    window: int | None


def write_file(
    model: Model,
    file: Path,
    kinds: tuple[str, str],
    pre: tuple[str | None, str],
    progress: Progress,
) -> WrittenFile:
    """Write `file`; `kinds` are the types of matrices and of the LM head.

    `pre` is llama.cpp's name of the pre-tokenizer, or None to find out, and the recipe's parameter for it.
    Everything is checked before the file is opened. Raises RecipeError, StageError.
    """
    from gguf import GGML_QUANT_VERSION, GGUFWriter, LlamaFileType

    where = str(model.path / "config.json")
    config = read_json(model.path / "config.json")
    family = find_architecture(model.spec.architecture, f"{where}, key architectures")
    shape, rope = read_shape(config, family, where), Rope(config, where)
    if rope.kind == "llama3" and not family.frequency_factors:
        raise RecipeError(
            f"llama.cpp does not scale rotary positions of {model.spec.architecture} by 'llama3'.",
            where=where,
        )
    weights, kept_heads = read_weights(model.path, shape, family)
    check_kept_heads(config, kept_heads, where)
    vocabulary = read_vocabulary(model.path, shape.vocabulary, *pre)
    generation = model.spec.generation or GenerationSpec(vocabulary=shape.vocabulary)
    writer = GGUFWriter(file, family.gguf.lower())
    try:
        writer.add_type("model")
        writer.add_file_type(LlamaFileType[f"{'ALL' if kinds[0] == 'F32' else 'MOSTLY'}_{kinds[0]}"])
        writer.add_quantization_version(GGML_QUANT_VERSION)
        write_shape(writer, shape, kept_heads, config, family)
        rope.write(writer)
        vocabulary.write(writer)
        special = write_special_tokens(writer, model.path, vocabulary, generation)
        template = write_chat_template(writer, model.path)
        factors = rope.factors(shape.width)
        computed = {"rope_freqs.weight": factors} if factors is not None else {}
        fallbacks = write_tensors(writer, weights, computed, kinds, progress)
    finally:
        writer.close()
    return WrittenFile(fallbacks, vocabulary.pre, special, template, shape.context, shape.window)
