"""Zeros that stay zeros while a model is trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from modelwright_plugins.blockwise.matrices import matrices_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from modelwright_plugins.training.context import TrainingContext


class ZeroMasks:
    """Sets the weights of linear layers that were zero when it was made to zero again after every step.

    >>> loop = Loop(stage, objective, examples, ctx, accelerator, hooks=[ZeroMasks(objective.student)])
    """

    def __init__(self, network: PreTrainedModel) -> None:
        # Layers without zeros were not pruned.
        self._zeros = [
            (matrix.weight, zeros) for matrix in matrices_of(network) if (zeros := matrix.weight == 0).any()
        ]

    def after_step(self, step: int) -> None:
        """Zero what the optimizer moved."""
        for weight, zeros in self._zeros:
            weight.masked_fill_(zeros, 0.0)

    def state_dict(self) -> Mapping[str, torch.Tensor]:
        """Nothing: the masks are those of the model that came in."""
        return {}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Nothing to load."""

    def record(self, ctx: TrainingContext) -> None:
        """Nothing: sparsity stays what it was."""
