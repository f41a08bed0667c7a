"""Grids of integers that groups of weights are rounded to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

# Shares of the whole range that are tried: the outermost weights may be worth clipping.
RATIOS = tuple(1 - step / 40 for step in range(25))


@dataclass(frozen=True)
class Grid:
    """Values (code - zero) x scale for codes from -2^(bits-1) on; scale and zero are [rows] or broadcast."""

    scale: torch.Tensor
    zero: torch.Tensor
    bits: int

    def encode(self, values: torch.Tensor) -> torch.Tensor:
        """The nearest codes, as floats."""
        half = 2 ** (self.bits - 1)
        return (values / self.scale + self.zero).round_().clamp_(-half, half - 1)

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        """The values of codes."""
        return (codes - self.zero) * self.scale


def fitted_grid(
    values: torch.Tensor, importance: torch.Tensor, bits: int, *, symmetric: bool, stored: torch.dtype
) -> Grid:
    """The grid of each row of [rows, width] whose rounding error, weighted by `importance` [width], is least.

    Scales are such that `stored`, the type they are kept in, holds exactly. A symmetric grid has its zero
    at code 0, any other has an integer one, so that 0 is always on it.
    """
    import torch

    half = 2 ** (bits - 1)
    low = values.amin(1).clamp_max_(0)
    high = values.amax(1).clamp_min_(0)
    least = torch.full_like(low, torch.inf)
    best = Grid(torch.ones_like(low), torch.zeros_like(low), bits)
    for ratio in RATIOS:
        if symmetric:
            scale = torch.maximum(-low / half, high / (half - 1)) * ratio
        else:
            scale = (high - low) * ratio / (2 * half - 1)
        scale = _stored(scale, stored)
        zero = torch.zeros_like(scale) if symmetric else (-half - low * ratio / scale).round_()
        zero.clamp_(-half, half - 1)
        tried = Grid(scale[:, None], zero[:, None], bits)
        error = ((tried.decode(tried.encode(values)) - values).square_() * importance).sum(1)
        better = error < least
        least = torch.where(better, error, least)
        best = Grid(torch.where(better, scale, best.scale), torch.where(better, zero, best.zero), bits)
    return best


def _stored(scale: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Scales as they come back from storage; none is zero."""
    import torch

    tiny = torch.finfo(dtype).tiny
    return scale.clamp_min(tiny).to(dtype).float()
