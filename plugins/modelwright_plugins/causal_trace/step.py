"""The module that is traced: one step of a causal language model, and an example of its inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelwright_plugins.causal_trace.anatomy import CausalAnatomy
from modelwright_plugins.causal_trace.attention import Current
from modelwright_plugins.causal_trace.cache import Past, past_cache

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

# Two rows, one of them padded, and lengths that differ from each other: what is 1 or equal in the example
# would be taken for constant or equal.
BATCH, LENGTH, PAST = 2, 4, 3


def step_module(model: PreTrainedModel, anatomy: CausalAnatomy, current: Current) -> torch.nn.Module:
    """A module of `input_ids`, `attention_mask`, `position_ids` and `past_key_values`.

    ::

        step(input_ids, attention_mask, position_ids, [{"key": k, "value": v}, ...])
        # {"logits": ..., "present": [{"key": k, "value": v}, ...]}
    """
    import torch

    class Step(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(
            self,
            input_ids: torch.Tensor,
            attention_mask: torch.Tensor,
            past_key_values: Past,
            position_ids: torch.Tensor | None = None,
        ) -> dict[str, Any]:
            cache = past_cache(past_key_values, attention_mask, input_ids, fused=anatomy.fused)
            current.cache = cache
            fed = {"input_ids": input_ids, "attention_mask": attention_mask, "position_ids": position_ids}
            taken = {name: fed[name] for name in anatomy.inputs}
            output = self.model(**taken, past_key_values=cache, use_cache=True)
            return {"logits": output.logits, "present": cache.present}

    return Step()


def sample_step(anatomy: CausalAnatomy, dtype: torch.dtype) -> tuple[dict[str, Any], dict[str, Any]]:
    """Inputs to trace a step with, and which of their dimensions vary."""
    import torch

    mask = torch.ones(BATCH, PAST + LENGTH, dtype=torch.int64)
    mask[0, 0] = 0
    ids = torch.arange(BATCH * LENGTH).reshape(BATCH, LENGTH) % anatomy.vocabulary
    inputs = {"input_ids": ids, "attention_mask": mask, "position_ids": mask.cumsum(1)[:, PAST:] - 1}
    taken: dict[str, Any] = {name: inputs[name] for name in anatomy.inputs}
    taken["past_key_values"] = [
        {
            "key": torch.zeros(BATCH, layer.heads, PAST, layer.key_width, dtype=dtype),
            "value": torch.zeros(BATCH, layer.heads, PAST, layer.value_width, dtype=dtype),
        }
        for layer in anatomy.layers
    ]
    varies = torch.export.Dim.AUTO
    shapes: dict[str, Any] = {name: {0: varies, 1: varies} for name in anatomy.inputs}
    shapes["past_key_values"] = [
        {"key": {0: varies, 2: varies}, "value": {0: varies, 2: varies}} for _ in anatomy.layers
    ]
    return taken, shapes
