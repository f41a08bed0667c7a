"""A checkpoint's tensors by GGUF's names, in the order to write them."""

from __future__ import annotations

from pathlib import Path

from modelwright.errors import RecipeError
from modelwright_plugins.format.checkpoint_weight import Weight
from modelwright_plugins.format.safetensors_header import read_header
from modelwright_plugins.format.weight_files import weight_files
from modelwright_plugins.gguf.architecture import Architecture, Shape
from modelwright_plugins.gguf.fit import Found, check_fit, some

# Buffers that older checkpoints carry; llama.cpp computes them.
_COMPUTED = (".rotary_emb.inv_freq", ".attn.bias", ".attn.masked_bias")


def read_weights(folder: Path, shape: Shape, family: Architecture) -> tuple[list[Weight], int]:
    """The weights in the order to write them, and the heads of keys and values.

    Raises RecipeError for tensors that have no place in GGUF, and as `check_fit` does.
    """
    from gguf import MODEL_ARCH, MODEL_TENSORS, get_tensor_name_map

    arch = MODEL_ARCH[family.gguf]
    names = get_tensor_name_map(arch, shape.layers)
    found: Found = {}
    strange: list[str] = []
    for file in weight_files(folder):
        for key, entry in read_header(file).items():
            name = names.get_name(key, try_suffixes=(".weight", ".bias"))
            if name is not None:
                found[name] = (file, entry)
            elif not key.endswith(_COMPUTED):
                strange.append(key)
    if strange:
        raise RecipeError(
            f"llama.cpp's '{family.gguf.lower()}' has no place for {some(strange)}.",
            where=str(folder),
            hint="the configuration and the weights belong to different models",
        )
    kept_heads = check_fit(folder, found, shape, family)
    order = {kind: index for index, kind in enumerate(MODEL_TENSORS[arch])}

    def place(name: str) -> tuple[int, int, str]:
        kind = names.get_type(name, try_suffixes=(".weight", ".bias"))
        block = int(name.split(".")[1]) if name.startswith("blk.") else -1
        return block, order[kind] if kind is not None else len(order), name

    heads = {"attn_q": shape.heads, "attn_k": kept_heads} if family.interleaved else {}
    weights = [
        Weight(name, *found[name], permuted_heads=heads.get(name.split(".")[-2]))
        for name in sorted(found, key=place)
    ]
    return [weight for weight in weights if not (shape.tied and weight.name == "output.weight")], kept_heads
