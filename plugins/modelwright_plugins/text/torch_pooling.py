"""One vector per text from its token vectors, with gradients."""

from __future__ import annotations

import torch
from torch.nn import functional

from modelwright.api.model import ModelSpec


def pooled(tokens: torch.Tensor, mask: torch.Tensor, spec: ModelSpec) -> torch.Tensor:
    """Token vectors [batch, length, width] as float32 [batch, width], by the spec's pooling.

    As `modelwright_plugins.text.pooling.pool` does for runners.
    """
    tokens, weights = tokens.float(), mask.unsqueeze(-1).to(torch.float32)
    if spec.pooling == "cls":
        found = tokens[:, 0]
    elif spec.pooling == "max":
        found = tokens.masked_fill(weights == 0, -torch.inf).amax(1)
    else:
        found = (tokens * weights).sum(1) / weights.sum(1).clamp(min=1e-9)
    return functional.normalize(found, dim=-1) if spec.normalize else found
