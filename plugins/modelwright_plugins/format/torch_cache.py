"""The KV caches of transformers: by kind, and how many bytes one holds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from modelwright.errors import RecipeError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel
    from transformers.cache_utils import Cache

KINDS = ("dynamic", "static", "quantized")


def new_cache(kind: str, model: PreTrainedModel, batch: int, length: int) -> Cache:
    """An empty cache of one of `KINDS` for a batch of texts of at most `length` tokens.

    `dynamic` grows by concatenation, `static` is allocated at once, `quantized` keeps 8-bit floating point
    (E4M3) with a scale per tensor. Raises RecipeError for another kind, or one the model cannot use.
    """
    from transformers.cache_utils import DynamicCache, QuantizedCache, StaticCache

    if kind == "dynamic":
        return DynamicCache(config=model.config)
    if kind == "static":
        return StaticCache(config=model.config, max_cache_len=length)
    if kind != "quantized":
        raise RecipeError(f"There is no cache '{kind}'.", where="model.cache", accepted=", ".join(KINDS))
    try:
        return QuantizedCache(backend="fp8", config=model.config)
    except ValueError as error:  # sliding windows, linear attention
        raise RecipeError(
            f"The model cannot use a quantized cache: {error}",
            where="model.cache",
            accepted="dynamic, static",
        ) from error


def stored_bytes(cache: Cache) -> int:
    """Bytes of every tensor that the layers of a cache hold."""
    held = {
        tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes()
        for layer in cache.layers
        for value in vars(layer).values()
        for tensor in _tensors(value)
        if tensor.dim() >= 3
    }
    return sum(held.values())


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    import torch

    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _tensors(item)
