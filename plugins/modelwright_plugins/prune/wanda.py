"""Pruning by weights and activations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelwright.api.context import StageContext
from modelwright_plugins.prune.calibrated import CalibratedPruning
from modelwright_plugins.prune.lowest import lowest_of_rows
from modelwright_plugins.prune.pattern import lowest_of_groups

if TYPE_CHECKING:
    import torch


class PruneWanda(
    CalibratedPruning,
    name="prune.wanda",
    takes="torch",
    gives="torch",
    fidelity="approximate",
    requires=("torch", "transformers", "accelerate"),
):
    """Zero the weights that contribute least to their layer's outputs on calibration data, row by row.

    ::

        prune: {use: prune.wanda, data: docs, sparsity: 0.5}
        prune: {use: prune.wanda, data: docs, pattern: "2:4"}

    A weight's score is its magnitude times the norm of its input over the calibration data; in each row
    [inputs] the lowest go. Nothing else changes. Layers are those of the transformer's blocks, one block
    after the other, each calibrated behind the pruned ones before it. Errors in the report are squared, as a
    share of the squared outputs, as if inputs were not correlated. Method: Sun et al. 2024, arXiv:2306.11695.
    """

    def prune(self, weight: torch.Tensor, statistics: torch.Tensor, ctx: StageContext) -> float:
        """By |w| and the root of the input's energy."""
        scores = weight.abs() * statistics.sqrt()
        scores[weight == 0] = -1.0
        if self.pattern is not None:
            gone = lowest_of_groups(scores, self.pattern)
        else:
            gone = lowest_of_rows(scores, self.share)
        energy = weight.square() * statistics
        error = float(energy[gone].sum() / energy.sum().clamp_min(1e-30))
        weight[gone] = 0.0
        return error
