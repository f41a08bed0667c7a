"""Whether a checkpoint's tensors, by GGUF's names, fit its configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from modelwright.errors import RecipeError
from modelwright_plugins.format.checkpoint_weight import STORED, Weight
from modelwright_plugins.format.safetensors_header import TensorEntry
from modelwright_plugins.gguf.architecture import Architecture, Shape

Found = dict[str, tuple[Path, TensorEntry]]
_EVERY_BLOCK = {
    f"{part}.weight"
    for part in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
}


def check_fit(folder: Path, found: Found, shape: Shape, family: Architecture) -> int:
    """The heads of keys and values, read off the rows of the keys.

    Raises RecipeError for tensors that are missing, have another shape than the configuration says, or are
    not floats; for biases that llama.cpp does not add; and where the configuration says untruly that the LM
    head is tied to the embeddings, or not.
    """
    _check_floats(folder, found)
    _check_biases(folder, found, family)
    _check_tie(folder, found, shape)
    return _check_shapes(folder, found, shape)


def check_kept_heads(config: dict[str, Any], kept: int, where: str) -> None:
    """Raise RecipeError when config.json says another number of key-value heads than the weights have."""
    said = config.get("num_key_value_heads")
    if said is not None and said != kept:
        raise RecipeError(
            f"The configuration says num_key_value_heads is {said}, and the keys have {kept} heads.",
            where=where,
            hint="the configuration belongs to another checkpoint",
        )


def some(names: list[str]) -> str:
    """The first few of many names."""
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _check_floats(folder: Path, found: Found) -> None:
    kinds = sorted({entry.dtype for _, entry in found.values()} - set(STORED))
    if kinds:
        raise RecipeError(
            f"The weights are stored as {', '.join(kinds)}.",
            where=str(folder),
            accepted="F64, F32, F16, BF16",
            hint="export the checkpoint as it was before it was quantized",
        )


def _check_biases(folder: Path, found: Found, family: Architecture) -> None:
    biases = [name for name in found if name.endswith(".bias")]
    strange = [name for name in biases if name.split(".")[-2] not in family.biases]
    if strange:
        raise RecipeError(
            f"llama.cpp adds no bias where the checkpoint has {some(strange)} (GGUF's names).",
            where=str(folder),
        )


def _check_tie(folder: Path, found: Found, shape: Shape) -> None:
    head, table = found.get("output.weight"), found.get("token_embd.weight")
    place = f"{folder / 'config.json'}, key tie_word_embeddings"
    if not shape.tied and head is None:
        raise RecipeError(
            "The configuration says that the LM head is not tied to the embeddings, and there is no LM head.",
            where=place,
            hint="set it to true, or take the checkpoint that has lm_head.weight",
        )
    if shape.tied and head is not None and table is not None and not _equal(head, table):
        raise RecipeError(
            "The configuration says that the LM head is tied to the embeddings, and the checkpoint has an LM "
            "head of other values.",
            where=place,
            hint="set it to false if the model was trained so",
        )


def _equal(one: tuple[Path, TensorEntry], other: tuple[Path, TensorEntry]) -> bool:
    if one[1].shape != other[1].shape or one[1].dtype != other[1].dtype:
        return False
    pieces = zip(Weight("", *one).pieces(), Weight("", *other).pieces(), strict=True)
    return all(np.array_equal(first, second, equal_nan=True) for first, second in pieces)


def _check_shapes(folder: Path, found: Found, shape: Shape) -> int:
    blocks = {name.split(".", 2)[2] for name in found if name.startswith("blk.")} | _EVERY_BLOCK
    needed = ["token_embd.weight", "output_norm.weight"]
    needed += [f"blk.{layer}.{part}" for layer in range(shape.layers) for part in sorted(blocks)]
    lacking = [name for name in needed if name not in found]
    if lacking:
        raise RecipeError(
            f"The checkpoint lacks {some(lacking)} (GGUF's names).",
            where=str(folder),
            hint=f"download the checkpoint again; the configuration says it has {shape.layers} layers",
        )
    kept = found["blk.0.attn_k.weight"][1].shape[0] // shape.width
    key_rows, query_rows = kept * shape.width, shape.heads * shape.width
    expected: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (shape.vocabulary, shape.hidden),
        "output.weight": (shape.vocabulary, shape.hidden),
    }
    for layer in range(shape.layers):
        expected |= {
            f"blk.{layer}.attn_q.weight": (query_rows, shape.hidden),
            f"blk.{layer}.attn_k.weight": (key_rows, shape.hidden),
            f"blk.{layer}.attn_v.weight": (key_rows, shape.hidden),
            f"blk.{layer}.attn_output.weight": (shape.hidden, query_rows),
            f"blk.{layer}.ffn_down.weight": (shape.hidden, shape.inner),
        }
    for name, wanted in expected.items():
        if name in found and found[name][1].shape != wanted:
            raise RecipeError(
                f"The tensor {name} (GGUF's name) is {_times(found[name][1].shape)}; by the configuration it "
                f"is {_times(wanted)}.",
                where=str(folder / "config.json"),
                hint="the configuration belongs to another checkpoint",
            )
    return kept


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
