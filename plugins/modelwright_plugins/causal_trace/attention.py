"""Attention over a KV cache as one operator per layer.

GroupQueryAttention (ONNX Runtime, com.microsoft) joins the new keys and values with the past in place when
both are bound to one buffer. It takes padding for padding on the right, and its own rotary embedding counts
positions from the mask's length in a decode step; so every row is given the whole length, padding goes in as
an additive bias, and rotary embedding stays an operator of its own, with the position ids.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from modelwright_plugins.causal_trace.cache import PastCache
from modelwright_plugins.causal_trace.mask import full_bias, full_mask, padding_bias

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

Operator = Literal["gqa", "attention", "written"]
Result = tuple["torch.Tensor", "torch.Tensor", "torch.Tensor"]

NAME = "modelwright"
# What attention functions are passed that changes nothing here: the mask already says it.
HARMLESS = frozenset({
    "dropout", "sliding_window", "is_causal", "position_ids", "position_embeddings", "cache_position",
    "past_key_values", "scaling", "softcap",
})  # fmt: skip
# Flags that say what else to return.
FLAGS = ("output_", "return_", "use_")


@dataclass(frozen=True)
class Call:
    """One call of attention: its layer, heads and widths, and the arguments that are out of the ordinary."""

    layer: int
    heads: int
    kept_heads: int
    key_width: int
    value_width: int
    masked: bool
    softcap: bool
    unusual: tuple[str, ...]


@contextmanager
def observed_attention(model: PreTrainedModel, calls: list[Call]) -> Iterator[None]:
    """While the model runs, note its calls of attention; none where it has attention code of its own."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    def observe(
        module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: Any, **given: Any
    ) -> Any:
        calls.append(
            Call(
                layer=int(getattr(module, "layer_idx", -1)),
                heads=query.shape[1],
                kept_heads=key.shape[1],
                key_width=key.shape[3],
                value_width=value.shape[3],
                masked=mask is not None,
                softcap=bool(given.get("softcap")),
                unusual=tuple(sorted(name for name, value in given.items() if _matters(name, value))),
            )
        )
        # Caps and sinks of scores, which this function refuses, change no shape.
        return sdpa_attention_forward(module, query, key, value, mask, scaling=given.get("scaling"))

    with _installed(model, observe, full_mask):
        yield


def _matters(name: str, value: object) -> bool:
    return value is not None and name not in HARMLESS and not name.startswith(FLAGS)


def choose_operator(calls: list[Call], layers: int, wanted: Operator) -> tuple[Operator, str]:
    """The operator that can compute these calls, and why it is not the wanted one."""
    if not calls:
        return "written", "the model has attention code of its own"
    if sorted(call.layer for call in calls) != list(range(layers)):
        return "written", "attention does not run once per cached layer"
    unusual = sorted({name for call in calls for name in call.unusual})
    if unusual:
        return "written", f"attention takes {', '.join(unusual)}"
    if any(call.heads % call.kept_heads or not call.masked for call in calls):
        return "written", "heads of keys and values do not divide those of queries, or there is no mask"
    if any(call.key_width != call.value_width for call in calls):
        return "written", "ONNX Runtime's operators take cached keys and values of one width"
    reason = ""
    if wanted == "gqa":
        if all(call.key_width % 8 == 0 for call in calls):
            return "gqa", ""
        reason = "GroupQueryAttention takes head widths that are multiples of 8"
    if any(call.softcap for call in calls):
        return "written", reason or "Attention caps scores after the mask, the model before it"
    return "attention", reason


class Current:
    """The cache of the step that is being traced."""

    cache: PastCache


def needs_eager(calls: list[Call]) -> bool:
    """Whether only the eager attention of transformers computes these calls: it takes caps and sinks."""
    return any(call.softcap or call.unusual for call in calls)


@contextmanager
def whole_attention(
    model: PreTrainedModel, operator: Operator, current: Current, *, eager: bool
) -> Iterator[None]:
    """Trace each layer's attention as one operator that reads and writes `current.cache`.

    Attention that stays `written` is traced as the model runs it, or from its `eager` code.
    """
    if operator == "written":
        before = model.config._attn_implementation
        if eager:
            model.set_attn_implementation("eager")
        try:
            yield
        finally:
            if eager:
                model.set_attn_implementation(before)
        return
    gqa = operator == "gqa"
    attend = functools.partial(_attend, _group_query_attention if gqa else _attention, current)
    with _installed(model, attend, padding_bias if gqa else full_bias):
        yield


@contextmanager
def _installed(
    model: PreTrainedModel, attend: Callable[..., Any], mask: Callable[..., Any]
) -> Iterator[None]:
    from transformers import AttentionInterface, AttentionMaskInterface

    if not model._can_set_attn_implementation():
        yield
        return
    before = model.config._attn_implementation
    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, mask)
    model.set_attn_implementation(NAME)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def _attend(
    operator: Callable[..., Result],
    current: Current,
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    bias: torch.Tensor,
    scaling: float | None = None,
    softcap: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of states [batch, heads, length, width]; [batch, length, heads, width] comes out."""
    batch, heads, length, width = query.shape
    scale = width**-0.5 if scaling is None else scaling
    attributes = {"scale": float(scale)} | ({"softcap": float(softcap)} if softcap else {})
    states = (query, key, value)
    output, *present = operator(current.cache, module.layer_idx, states, bias, attributes)
    current.cache.present[module.layer_idx] = dict(zip(("key", "value"), present, strict=True))
    return output.reshape(batch, length, heads, value.shape[3]), None


def _group_query_attention(
    cache: PastCache, layer: int, states: Result, bias: torch.Tensor, attributes: dict[str, Any]
) -> Result:
    past = cache.past[layer]
    return _operator(
        "com.microsoft::GroupQueryAttention",
        1,
        states,
        cache.total,
        (past["key"], past["value"], cache.last_index, cache.total_length, None, None, None, bias),
        {"num_heads": states[0].shape[1], "kv_num_heads": states[1].shape[1], **attributes},
    )


def _attention(
    cache: PastCache, layer: int, states: Result, bias: torch.Tensor, attributes: dict[str, Any]
) -> Result:
    past = cache.past[layer]
    heads = {"q_num_heads": states[0].shape[1], "kv_num_heads": states[1].shape[1]}
    more = (bias, past["key"], past["value"])
    return _operator("Attention", 23, states, cache.total, more, {**heads, **attributes})


def _operator(
    name: str, version: int, states: Result, total: int, inputs: tuple[Any, ...], attributes: dict[str, Any]
) -> Result:
    import torch

    query, key, value = states
    batch, heads, length, _ = query.shape
    kept = key.shape[1]
    flat = [
        item.transpose(1, 2).reshape(batch, length, item.shape[1] * item.shape[3])
        for item in (query, key, value)
    ]
    shapes = (
        (batch, length, heads * value.shape[3]),
        (batch, kept, total, key.shape[3]),
        (batch, kept, total, value.shape[3]),
    )
    output, present_key, present_value = torch.onnx.ops.symbolic_multi_out(
        name, (*flat, *inputs), attributes, dtypes=(query.dtype,) * 3, shapes=shapes, version=version
    )
    return output, present_key, present_value
