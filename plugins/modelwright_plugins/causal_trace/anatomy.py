"""What the export needs to know of a causal language model, as one forward pass shows it."""

from __future__ import annotations

import inspect
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from modelwright.errors import StageError
from modelwright_plugins.causal_trace.attention import (
    Call,
    Operator,
    choose_operator,
    needs_eager,
    observed_attention,
)
from modelwright_plugins.causal_trace.norm import NormKind, observed_norms
from modelwright_plugins.causal_trace.rotary import RotaryKind, observed_rotary

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

INPUTS = ("input_ids", "attention_mask", "position_ids")


@dataclass(frozen=True)
class CachedLayer:
    """One layer's cache: key-value heads, and the width of a key and of a value."""

    heads: int
    key_width: int
    value_width: int


@dataclass(frozen=True)
class CausalAnatomy:
    """A model's inputs, its cache, and which of its parts have an operator of their own.

    `operator` is what computes attention: `gqa` (GroupQueryAttention), `attention` (Attention-23) or
    `written` (whatever the model's own code is traced to); `reason` says why it is not the one asked for,
    and `eager` that the written one has to be the model's eager code.
    `rotary` and `norms` are the functions and modules found to compute exactly what the operators
    RotaryEmbedding-23 and RMSNormalization-23 do.
    """

    inputs: tuple[str, ...]
    vocabulary: int
    layers: tuple[CachedLayer, ...]
    operator: Operator
    reason: str
    eager: bool
    grouped: bool
    rotary: dict[str, RotaryKind]
    norms: dict[str, NormKind]

    @property
    def fused(self) -> bool:
        """Whether attention and the cache's update are one operator by construction."""
        return self.operator != "written"


def examine(model: PreTrainedModel, wanted: Literal["gqa", "attention"]) -> CausalAnatomy:
    """Run a padded batch of two through the model and look at its attention, norms and cache.

    Raises StageError for a model without a KV cache of keys and values per token (state-space and recurrent
    layers, encoder-decoder models).
    """
    import torch
    from transformers.cache_utils import DynamicCache

    architecture = type(model).__name__
    names = inspect.signature(model.forward).parameters
    _refuse_other_state(model, architecture, names)
    mask = torch.tensor([[0, 1, 1, 1, 1], [1, 1, 1, 1, 1]])
    vocabulary = int(model.config.get_text_config().vocab_size)
    ids = torch.arange(mask.numel()).reshape(mask.shape) * 7 % vocabulary
    fed = {"input_ids": ids, "attention_mask": mask, "position_ids": (mask.cumsum(1) - 1).clamp(min=0)}
    inputs = tuple(name for name in INPUTS if name in names)
    cache = DynamicCache(config=model.config)
    calls: list[Call] = []
    with ExitStack() as stack, torch.no_grad():
        stack.enter_context(observed_attention(model, calls))
        norms = stack.enter_context(observed_norms(model))
        rotary = stack.enter_context(observed_rotary(model))
        model(**{name: fed[name] for name in inputs}, past_key_values=cache, use_cache=True)
    layers = _cached_layers(cache, mask, architecture)
    operator, reason = choose_operator(calls, len(layers), wanted)
    return CausalAnatomy(
        inputs=inputs,
        vocabulary=vocabulary,
        layers=layers,
        operator=operator,
        reason=reason,
        eager=needs_eager(calls),
        grouped=any(call.heads != call.kept_heads for call in calls),
        rotary={name: kind for name, kind in rotary.items() if kind is not None},
        norms={name: kind for name, kind in norms.items() if kind is not None},
    )


def _refuse_other_state(model: PreTrainedModel, architecture: str, names: Any) -> None:
    if model.config.is_encoder_decoder:
        raise _refusal(
            architecture, "it is an encoder-decoder model, whose cache holds two kinds of attention"
        )
    if getattr(model, "_is_stateful", False):
        raise _refusal(
            architecture, "its layers carry a recurrent state beside or instead of keys and values"
        )
    if "past_key_values" not in names or "attention_mask" not in names:
        raise _refusal(architecture, "its forward takes no past_key_values with an attention_mask")


def _refusal(architecture: str, reason: str) -> StageError:
    return StageError(
        f"{architecture} can't be exported with a KV cache: {reason}.",
        where=architecture,
        accepted="decoder-only models that cache keys and values of each token",
    )


def _cached_layers(cache: Any, mask: torch.Tensor, architecture: str) -> tuple[CachedLayer, ...]:
    layers = []
    for index, layer in enumerate(cache.layers):
        key, value = getattr(layer, "keys", None), getattr(layer, "values", None)
        if key is None or value is None or key.ndim != 4 or key.shape[2] != mask.shape[1]:
            raise _refusal(
                architecture, f"layer {index} ({type(layer).__name__}) caches no keys and values per token"
            )
        layers.append(CachedLayer(key.shape[1], key.shape[3], value.shape[3]))
    if not layers:
        raise _refusal(architecture, "it filled no cache")
    return tuple(layers)
