"""Batches as a network's arguments."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from modelwright.api.runner import Inputs

if TYPE_CHECKING:
    import torch


def fed(module: torch.nn.Module, batch: Inputs) -> dict[str, Any]:
    """What a network takes of a batch, as tensors on its device; without a cache."""
    import torch

    names = inspect.signature(module.forward).parameters
    device = next(module.parameters()).device
    found: dict[str, Any] = {
        name: torch.from_numpy(array).to(device) for name, array in batch.items() if name in names
    }
    return found | ({"use_cache": False} if "use_cache" in names else {})
