"""GPTQ's part of the second-order solver: the code of each column, on the grid of its group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelwright_plugins.blockwise.grids import Grid, fitted_grid
from modelwright_plugins.blockwise.second_order import LAZY

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Scheme:
    """How weights are stored: `bits` each, and a grid for each `group` inputs of an output (None: all)."""

    bits: int
    group: int | None
    symmetric: bool
    stored: torch.dtype

    def groups(self, inputs: int) -> int:
        """How many groups a row has."""
        return inputs // (self.group or inputs)

    def span(self) -> int:
        """Columns to solve at once, a whole number of groups."""
        return LAZY if self.group is None else -(-LAZY // self.group) * self.group


@dataclass(frozen=True)
class Codes:
    """A matrix in codes: int8 [outputs, inputs], scales and zeros [outputs, groups]."""

    codes: torch.Tensor
    scales: torch.Tensor
    zeros: torch.Tensor
    bits: int

    def decode(self) -> torch.Tensor:
        """The values, float32 [outputs, inputs]."""
        groups = self.scales.shape[1]
        grouped = self.codes.float().unflatten(1, (groups, -1))
        return Grid(self.scales[..., None], self.zeros[..., None], self.bits).decode(grouped).flatten(1)


def round_to_nearest(weight: torch.Tensor, importance: torch.Tensor, scheme: Scheme) -> Codes:
    """Each weight [outputs, inputs] at its nearest code; groups are fitted by `importance` [inputs]."""
    import torch

    groups = scheme.groups(weight.shape[1])
    codes, scales, zeros = [], [], []
    for values, weights in zip(weight.chunk(groups, 1), importance.chunk(groups), strict=True):
        grid = _fit(values, weights, scheme)
        scales.append(grid.scale)
        zeros.append(grid.zero)
        codes.append(Grid(grid.scale[:, None], grid.zero[:, None], grid.bits).encode(values).to(torch.int8))
    return Codes(torch.cat(codes, 1), torch.stack(scales, 1), torch.stack(zeros, 1), scheme.bits)


class Rounding:
    """A projection (`second_order.Projection`) that keeps the codes it chose.

    >>> rounding = Rounding(weight, energy, scheme, order=None, static=False)
    >>> solve(weight, hessian, rounding, damping=0.01, where="damping", span=scheme.span())
    >>> rounding.codes.decode()

    `importance` [inputs] is the energy of each input. `static` grids are fitted beforehand, others when
    their group is reached, to weights as corrected by then. With an `order` of columns grids are static.
    `zeros`, where given, are places that stay zero.
    """

    def __init__(
        self,
        weight: torch.Tensor,
        importance: torch.Tensor,
        scheme: Scheme,
        *,
        order: torch.Tensor | None,
        static: bool,
        zeros: torch.Tensor | None = None,
    ) -> None:
        self.codes = round_to_nearest(weight, importance, scheme)
        self._importance = importance
        self._scheme = scheme
        self._places = None if order is None else order.tolist()
        self._static = static or order is not None or scheme.group is None
        self._zeros = zeros

    def begin(self, start: int, columns: torch.Tensor, spread: torch.Tensor) -> None:
        """Nothing: groups begin within a span."""

    def column(self, index: int, ahead: torch.Tensor) -> torch.Tensor:
        """The column on its group's grid."""
        import torch

        place = index if self._places is None else self._places[index]
        size = self._scheme.group or self.codes.codes.shape[1]
        group = place // size
        if not self._static and place % size == 0:
            grid = _fit(ahead[:, :size], self._importance[place : place + size], self._scheme)
            self.codes.scales[:, group], self.codes.zeros[:, group] = grid.scale, grid.zero
        grid = Grid(self.codes.scales[:, group], self.codes.zeros[:, group], self._scheme.bits)
        codes = grid.encode(ahead[:, 0])
        if self._zeros is not None:
            codes = torch.where(self._zeros[:, place], grid.zero, codes)
        self.codes.codes[:, place] = codes.to(torch.int8)
        return grid.decode(codes)


def _fit(values: torch.Tensor, importance: torch.Tensor, scheme: Scheme) -> Grid:
    return fitted_grid(values, importance, scheme.bits, symmetric=scheme.symmetric, stored=scheme.stored)
