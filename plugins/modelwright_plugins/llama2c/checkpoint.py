"""The tensors of a Hugging Face Llama checkpoint by llama2.c's names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from modelwright.errors import RecipeError
from modelwright_plugins.format.checkpoint_weight import STORED, Weight
from modelwright_plugins.format.safetensors_header import TensorEntry, read_header
from modelwright_plugins.format.weight_files import weight_files
from modelwright_plugins.llama2c.layout import PER_LAYER, TABLES, Header, Part, parts

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
_NAMES = {
    "tok_embeddings": EMBEDDING,
    "output": HEAD,
    "norm": "model.norm.weight",
    "attention_norm": "input_layernorm.weight",
    "ffn_norm": "post_attention_layernorm.weight",
    "wq": "self_attn.q_proj.weight",
    "wk": "self_attn.k_proj.weight",
    "wv": "self_attn.v_proj.weight",
    "wo": "self_attn.o_proj.weight",
    "w1": "mlp.gate_proj.weight",
    "w2": "mlp.down_proj.weight",
    "w3": "mlp.up_proj.weight",
}

Found = Mapping[str, tuple[Path, TensorEntry]]


def find_tensors(folder: Path) -> Found:
    """File and place of every tensor by name, from the headers."""
    return {name: (file, entry) for file in weight_files(folder) for name, entry in read_header(file).items()}


def shares_classifier(found: Found, *, tied: bool, where: str) -> bool:
    """Whether the classifier is the embedding table: none is stored, or one of the same values.

    `tied` is what the configuration, at `where`, says. Raises RecipeError where it says that they are two,
    and there is one.
    """
    if HEAD in found:
        return EMBEDDING in found and _equal(found[HEAD], found[EMBEDDING])
    if not tied:
        raise RecipeError(
            "The weights hold no lm_head, and config.json says that it is not tied to the embedding.",
            where=where,
            accepted="tie_word_embeddings: true where the head is the embedding table",
            hint="or take the checkpoint that has lm_head.weight",
        )
    return True


def match_weights(found: Found, header: Header, folder: Path) -> dict[Part, Weight]:
    """The checkpoint's weight for each tensor of the file, but the rotary tables, in the file's order.

    Rows of queries and keys come in the order in which llama2.c pairs them: transformers rotates the two
    halves of a head with each other, llama2.c neighbours. Raises RecipeError for tensors that are not there,
    of another shape than the configuration's, or no floats.
    """
    permuted = {"wq": header.heads, "wk": header.kv_heads}
    weights = {}
    for part in parts(header):
        if part.name in TABLES:
            continue
        name = _NAMES[part.name]
        if part.name in PER_LAYER:
            name = f"model.layers.{part.layer}.{name}"
        if name not in found:
            raise RecipeError(
                f"The weights lack '{name}', which config.json implies.",
                where=str(folder),
                hint="the config belongs to another checkpoint, or files are missing",
            )
        file, entry = found[name]
        _check_entry(name, entry, part.shape, folder)
        weights[part] = Weight(name, file, entry, permuted.get(part.name))
    return weights


def _check_entry(name: str, entry: TensorEntry, shape: tuple[int, ...], folder: Path) -> None:
    if entry.dtype not in STORED:
        raise RecipeError(
            f"The tensor '{name}' is stored as {entry.dtype}.",
            where=str(folder),
            accepted=", ".join(STORED),
            hint="export the checkpoint as it was before it was quantized",
        )
    if entry.shape != shape:
        raise RecipeError(
            f"The tensor '{name}' is {_text(entry.shape)} in the weights, and config.json implies "
            f"{_text(shape)}.",
            where=str(folder / "config.json"),
            hint="compare vocab_size, hidden_size, intermediate_size and num_key_value_heads; the config "
            "belongs to another checkpoint",
        )


def _equal(one: tuple[Path, TensorEntry], other: tuple[Path, TensorEntry]) -> bool:
    if one[1].shape != other[1].shape or not {one[1].dtype, other[1].dtype} <= set(STORED):
        return False
    pieces = zip(Weight("", *one).pieces(), Weight("", *other).pieces(), strict=True)
    return all(np.array_equal(first, second) for first, second in pieces)


def _text(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))
