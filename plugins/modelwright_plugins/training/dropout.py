"""Training without the dropout that a model's configuration names."""

from __future__ import annotations

import torch


def without_dropout(network: torch.nn.Module) -> None:
    """Set every probability of dropout in a network to 0; its configuration stays as it is.

    A student that has to follow a teacher's outputs is not helped by noise in its own.
    """
    for module in network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        # Attention that calls a function of its own keeps the probability as a number.
        if isinstance(getattr(module, "attention_dropout", None), float):
            module.attention_dropout = 0.0  # type: ignore[assignment]
