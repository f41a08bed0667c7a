"""Pruning with the error of each weight made up for by those that stay."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from modelwright.api.context import StageContext
from modelwright_plugins.prune.calibrated import CalibratedPruning
from modelwright_plugins.prune.pattern import lowest_of_groups, numbers

if TYPE_CHECKING:
    import torch

    from modelwright_plugins.blockwise.statistics import Kind


class PruneSparseGPT(
    CalibratedPruning,
    name="prune.sparsegpt",
    takes="torch",
    gives="torch",
    fidelity="approximate",
    requires=("torch", "transformers", "accelerate"),
):
    """Zero the weights whose loss the others can best make up for, and let them do so.

    ::

        prune: {use: prune.sparsegpt, data: docs, sparsity: 0.5}
        prune: {use: prune.sparsegpt, data: docs, pattern: "2:4", damping: 0.01}

    Column by column, weights [outputs, inputs] of least loss are set to zero and the columns behind are
    corrected, so that the layer's outputs on calibration data change least. Layers are those of the
    transformer's blocks, one block after the other, each calibrated behind the pruned ones before it. Zeros
    that are there stay. Errors in the report are squared, as a share of the squared outputs. Raises
    StageError where the Hessian has no inverse. Method: Frantar & Alistarh 2023, arXiv:2301.00774.
    """

    statistics: ClassVar[Kind] = "hessian"

    damping: float = Field(
        0.01, gt=0, lt=1, description="Added to the Hessian's diagonal, as a share of its mean."
    )

    def prune(self, weight: torch.Tensor, statistics: torch.Tensor, ctx: StageContext) -> float:
        """Solve with a mask that is chosen on the way."""
        from modelwright_plugins.blockwise.second_order import LAZY, solve

        outputs = float(((weight @ statistics) * weight).sum())
        mask = _Mask(weight == 0, self.share, self.pattern)
        group = numbers(self.pattern)[1] if self.pattern else 1
        span = LAZY - LAZY % group
        where = ctx.where("damping")
        error = solve(weight, statistics, mask, damping=self.damping, where=where, span=span)
        return error / max(outputs, 1e-30)


class _Mask:
    """Sets the columns' least important weights to zero."""

    def __init__(self, zeros: torch.Tensor, share: float, pattern: str | None) -> None:
        self._zeros = zeros
        self._share = share
        self._pattern = pattern
        self._start = 0

    def begin(self, start: int, columns: torch.Tensor, spread: torch.Tensor) -> None:
        """Without a pattern, the mask of a span is chosen when it begins."""
        import torch

        self._start, self._spread = start, spread
        # Of its own layout: that of a transposed weight has no flat view.
        self._gone = self._zeros[:, start : start + columns.shape[1]].clone(
            memory_format=torch.contiguous_format
        )
        if self._pattern is None:
            scores = self._scores(columns, 0)
            count = round(self._share * scores.numel())
            lowest = scores.flatten().argsort(stable=True)[:count]
            self._gone.view(-1)[lowest] = True

    def column(self, index: int, ahead: torch.Tensor) -> torch.Tensor:
        """With one, the mask of a group when its first column is reached."""
        place = index - self._start
        if self._pattern is not None:
            of = numbers(self._pattern)[1]
            if place % of == 0:
                group = slice(place, place + of)
                self._gone[:, group] |= lowest_of_groups(self._scores(ahead[:, :of], place), self._pattern)
        return ahead[:, 0].masked_fill(self._gone[:, place], 0.0)

    def _scores(self, columns: torch.Tensor, place: int) -> torch.Tensor:
        width = columns.shape[1]
        scores = (columns / self._spread[place : place + width]).square()
        return scores.masked_fill(self._gone[:, place : place + width], -1.0)
