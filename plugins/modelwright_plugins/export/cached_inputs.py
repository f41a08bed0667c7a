"""Inputs to trace a causal language model with: a padded batch of two in the middle of a text."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from modelwright.errors import RecipeError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PAST, NEW = 5, 3


def cached_inputs(model: PreTrainedModel) -> dict[str, Any]:
    """Arguments of `forward` for three tokens after five in the cache, as `forward` names them.

    The batch is two and its first row is padded on the left: a batch of one, a single token or a full mask
    would be traced as constants. `logits_to_keep` is among them where the architecture has it, so that
    the logits of a prompt's other positions need not be computed. Raises RecipeError for an architecture
    without a cache of keys and values.
    """
    import torch
    from transformers.cache_utils import DynamicCache

    names = inspect.signature(model.forward).parameters
    if "past_key_values" not in names:
        raise RecipeError(
            f"{type(model).__name__} keeps no cache of keys and values.",
            where="the recipe's model",
            accepted="decoder-only transformers (Llama, Mistral, Qwen, GPT-2, BLOOM, OPT, …)",
        )
    vocabulary = int(model.config.get_text_config().vocab_size)
    ids = torch.arange(2 * (PAST + NEW)).reshape(2, PAST + NEW) % vocabulary
    mask = torch.ones_like(ids)
    mask[0, :2] = 0
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
    fed = {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
    fed = {name: tensor for name, tensor in fed.items() if name in names}
    cache = DynamicCache(config=model.config)
    with torch.inference_mode():
        model(
            **{name: tensor[:, :PAST] for name, tensor in fed.items()}, past_key_values=cache, use_cache=True
        )
    sample: dict[str, Any] = {
        name: tensor if name == "attention_mask" else tensor[:, PAST:] for name, tensor in fed.items()
    }
    if "logits_to_keep" in names:
        sample["logits_to_keep"] = torch.tensor([0, NEW - 1])
    return {**sample, "past_key_values": cache, "use_cache": True}
