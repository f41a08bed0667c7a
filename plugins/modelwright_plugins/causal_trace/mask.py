"""Attention masks as an exported operator takes them: added to the scores."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def full_mask(*args: Any, **given: Any) -> torch.Tensor:
    """What may be attended, bool of shape [batch, 1, length, total]: causal, padding and window."""
    from transformers.masking_utils import sdpa_mask

    mask: torch.Tensor | None = sdpa_mask(*args, **{**given, "allow_is_causal_skip": False})
    assert mask is not None
    return mask


def full_bias(*args: Any, **given: Any) -> torch.Tensor:
    """The full mask as what is added to the scores."""
    return _additive(full_mask(*args, **given), given)


def padding_bias(*args: Any, **given: Any) -> torch.Tensor:
    """The bias for an operator that is causal itself: padding alone, if the mask has nothing beyond."""
    from transformers.masking_utils import causal_mask_function, sdpa_mask

    bound = inspect.signature(sdpa_mask).bind(*args, **given).arguments
    padding = bound.get("attention_mask")
    if padding is None or bound.get("mask_function", causal_mask_function) is not causal_mask_function:
        return full_bias(*args, **given)
    row = _additive(padding.bool()[:, None, None, :], given)
    return row.expand(-1, -1, bound["q_length"], -1)


def _additive(attended: torch.Tensor, given: dict[str, Any]) -> torch.Tensor:
    import torch

    dtype = given.get("dtype", torch.float32)
    # Half of the least number: a score added to it does not become infinite, nor a row of padding NaN.
    return (~attended).to(dtype) * (torch.finfo(dtype).min / 2)
