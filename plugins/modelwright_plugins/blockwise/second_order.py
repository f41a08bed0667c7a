"""Changing a matrix column by column, each error made up for by the columns that follow.

One solver for pruning and quantizing: Optimal Brain Compression (Frantar & Alistarh 2022, arXiv:2208.11580)
made fast by one order of columns for all rows, as in GPTQ (Frantar et al. 2023, arXiv:2210.17323) and
SparseGPT (Frantar & Alistarh 2023, arXiv:2301.00774).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from modelwright.errors import StageError

if TYPE_CHECKING:
    import torch

# Columns whose corrections are applied to all later ones at once.
LAZY = 128


class Projection(Protocol):
    """What each column is changed to."""

    def begin(self, start: int, columns: torch.Tensor, spread: torch.Tensor) -> None:
        """A span of columns [outputs, span] from `start` on is next, corrected by all before it.

        `spread` [span] is the square root of what the Hessian's inverse, of the columns not yet passed, has
        on its diagonal: the loss of changing a weight by d is (d / spread)² / 2. It is infinite for an input
        that never occurred.
        """
        ...

    def column(self, index: int, ahead: torch.Tensor) -> torch.Tensor:
        """The value [outputs] of column `index`; `ahead` are the columns from it to its span's end."""
        ...


def solve(
    weight: torch.Tensor,
    hessian: torch.Tensor,
    projection: Projection,
    *,
    damping: float,
    where: str,
    span: int = LAZY,
    order: torch.Tensor | None = None,
) -> float:
    """Change `weight` [outputs, inputs] in place; the squared error of its outputs, mean over tokens.

    `hessian` is the mean of x x^T over the inputs x, [inputs, inputs]; `damping` is added to its diagonal as
    a share of the mean. `order` is the order that columns are passed in (their own, if None); the projection
    speaks of places in that order. Raises StageError where the Hessian has no inverse; `where` says where
    the recipe sets the damping.
    """
    import torch

    original = weight.clone()
    rest = weight if order is None else weight[:, order]
    unseen = hessian.diagonal() == 0
    if order is None:
        inverse = inverse_factor(hessian, damping, where)
    else:
        inverse, unseen = inverse_factor(hessian[order][:, order], damping, where), unseen[order]
    inputs = weight.shape[1]
    for start in range(0, inputs, span):
        end = min(start + span, inputs)
        columns = rest[:, start:end].clone()
        errors = torch.empty_like(columns)
        factor = inverse[start:end, start:end]
        projection.begin(start, columns, factor.diagonal().masked_fill(unseen[start:end], torch.inf))
        for place in range(end - start):
            value = projection.column(start + place, columns[:, place:])
            error = (columns[:, place] - value) / factor[place, place]
            columns[:, place:] -= torch.outer(error, factor[place, place:])
            columns[:, place] = value
            errors[:, place] = error
        rest[:, start:end] = columns
        rest[:, end:] -= errors @ inverse[start:end, end:]
    if order is not None:
        weight[:, order] = rest
    change = weight - original
    return float(((change @ hessian) * change).sum())


def inverse_factor(hessian: torch.Tensor, damping: float, where: str) -> torch.Tensor:
    """The upper Cholesky factor of the damped Hessian's inverse, float32 [inputs, inputs]."""
    import torch

    # In the columns' order that LAPACK works in, each step fits in the memory of the one before it.
    work = hessian.to(torch.float64, copy=True).mT
    del hessian  # the last of it, where it was put in order for this
    diagonal = work.diagonal()
    mean = float(diagonal.mean()) or 1.0
    diagonal += damping * mean
    try:
        torch.linalg.cholesky(work, out=work)
        torch.cholesky_inverse(work, out=work)
        torch.linalg.cholesky(work, upper=True, out=work)
        return work.to(torch.float32, memory_format=torch.contiguous_format)
    except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
        raise StageError(
            f"The Hessian of {len(work):,} inputs has no inverse: {error}",
            where=where,
            accepted="calibration data that move every input, or more damping",
            hint="raise damping to 0.05 or samples to 128",
        ) from error
