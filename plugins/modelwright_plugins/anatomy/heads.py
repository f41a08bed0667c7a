"""Attention heads and cache layers as a config.json gives them."""

from __future__ import annotations

from typing import NamedTuple

from modelwright.api.anatomy import LayerCache
from modelwright.errors import RecipeError
from modelwright_plugins.anatomy.config import Config

SLIDING = "sliding_attention"
FULL = "full_attention"


class Heads(NamedTuple):
    """Query heads, key-value heads and the length of one head's vectors."""

    queries: int
    key_values: int
    dim: int

    @property
    def query_width(self) -> int:
        """Length of all query vectors of a token."""
        return self.queries * self.dim

    @property
    def kv_width(self) -> int:
        """Length of all key (or all value) vectors of a token."""
        return self.key_values * self.dim

    def caches(self, layers: int, windows: tuple[int | None, ...] = ()) -> tuple[LayerCache, ...]:
        """Keys and values of every layer; `windows` as `layer_windows` gives them."""
        return tuple(LayerCache(2 * self.kv_width, windows[i] if windows else None) for i in range(layers))


def read_heads(
    config: Config,
    hidden: int,
    *,
    keys: tuple[str, ...] = ("num_attention_heads",),
    grouped: bool = True,
    without: str = "all",
    head_dim: int | None = None,
) -> Heads:
    """The heads of a model whose key-value heads are `num_key_value_heads`.

    `grouped` says whether the family has that key at all. `without` says what a config without it means:
    `all` (as many as query heads: multi-head attention), or a figure transformers would assume, which is
    refused, because it is rarely the one that was meant. `head_dim` is the family's own default; without
    one it is hidden / heads. Raises RecipeError when the heads do not divide.
    """
    queries = config.count(*keys)
    if not grouped:
        key_values = queries
    elif config.has("num_key_value_heads") or without == "all":
        key_values = config.count("num_key_value_heads", default=queries)
    else:
        raise RecipeError(
            "config.json says no num_key_value_heads, and this family has no default that fits every size "
            f"(transformers assumes {without}).",
            where=config.where("num_key_value_heads"),
            accepted=f"num_key_value_heads: {queries} is plain multi-head attention; fewer share keys",
        )
    if config.has("head_dim"):
        dim = config.count("head_dim")
    elif head_dim is not None:
        dim = head_dim
    else:
        dim = divide(config, keys[0], hidden, queries)
    if queries % key_values:
        raise RecipeError(
            f"{queries} query heads cannot share {key_values} key-value heads evenly.",
            where=config.where("num_key_value_heads"),
            accepted=f"a divisor of {keys[0]} ({queries})",
        )
    return Heads(queries, key_values, dim)


def divide(config: Config, key: str, hidden: int, heads: int) -> int:
    """The length of one head's vectors. Raises RecipeError when the heads do not divide the hidden size."""
    if hidden % heads:
        raise RecipeError(
            f"{heads} attention heads do not divide the hidden size {hidden}.",
            where=config.where(key),
            accepted=f"a divisor of {hidden}, or a head_dim of its own",
        )
    return hidden // heads


def layer_windows(
    config: Config, layers: int, *, period: int | None = None, only_if: str | None = None
) -> tuple[int | None, ...]:
    """The sliding window of each layer, None for a layer that sees everything.

    `layer_types` decides where it is written. Else every layer has `sliding_window`, but for the last of
    each `period` layers (Gemma), and but for those before `max_window_layers` (Qwen) where `only_if`, the
    flag that turns windows on, is given.
    """
    if only_if is not None and not config.flag(only_if, False):
        return (None,) * layers
    if not config.has("sliding_window"):
        return (None,) * layers
    window = config.count("sliding_window")
    types = config.words("layer_types")
    if types:
        if len(types) != layers:
            raise RecipeError(
                f"config.json gives {len(types)} layer types for {layers} layers.",
                where=config.where("layer_types"),
                accepted="one for each layer",
            )
        return tuple(window if kind == SLIDING else None for kind in types)
    if only_if is not None:
        first = config.count("max_window_layers", default=28, least=0)
        return tuple(window if index >= first else None for index in range(layers))
    if period is not None:
        return tuple(window if (index + 1) % period else None for index in range(layers))
    return (window,) * layers


def partial_rotary(config: Config, default: float, key: str = "partial_rotary_factor") -> float:
    """The share of a head's values that rotate, where transformers 5 writes it or where older ones did."""
    written = config.within("rope_parameters").share("partial_rotary_factor", 0.0)
    return written or config.share(key, default)
