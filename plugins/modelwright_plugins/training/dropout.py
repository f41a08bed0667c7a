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
        # Modules that call a function of their own keep the probability as a number: attention_dropout,
        # activation_dropout, dropout_prob, layerdrop, ...
        for name, value in vars(module).items():
            if "drop" in name and isinstance(value, float):
                setattr(module, name, 0.0)
