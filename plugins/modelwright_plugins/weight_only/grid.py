"""Scales and zero points of blocks of weights: from their range, or searched for the least error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from modelwright_plugins.weight_only.blocks import Reals, encode

# How far the number of steps in a block's range is varied, as in llama.cpp's search.
TRIALS = np.linspace(-1.0, 1.0, 21, dtype=np.float32)


@dataclass(frozen=True)
class Grid:
    """The values that blocks [n, block_size] can take: (code - zero) * scale, codes 0 ... 2 ** bits - 1.

    `scales` and `zeros` are float32 [n, 1]; zeros are whole numbers, as MatMulNBits stores them.
    """

    scales: Reals
    zeros: Reals
    bits: int

    def codes(self, values: Reals) -> Reals:
        """The nearest codes, as float32."""
        return encode(values, self.scales, self.zeros, self.bits).astype(np.float32)

    def nearest(self, values: Reals) -> Reals:
        """Values rounded to the grid."""
        return (self.codes(values) - self.zeros) * self.scales


def range_grid(values: Reals, bits: int, *, symmetric: bool) -> Grid:
    """The grid of round-to-nearest: symmetric ones reach the greatest magnitude, others both ends."""
    least, greatest = values.min(axis=1, keepdims=True), values.max(axis=1, keepdims=True)
    if symmetric:
        largest = np.where(greatest > -least, greatest, least)
        half = 1 << (bits - 1)
        return Grid(largest / -half, np.full_like(largest, half), bits)
    top = (1 << bits) - 1
    least, greatest = np.minimum(least, 0), np.maximum(greatest, 0)
    scales = (greatest - least) / top
    return Grid(scales, _zero_of(least, scales, top), bits)


def searched_grid(values: Reals, bits: int, *, symmetric: bool, weights: Reals | None = None) -> Grid:
    """The grid of least squared error, each weight's error times its weight (default: 1).

    The search of llama.cpp's k-quants: steps a little narrower and wider than the range asks for are tried,
    each scale fitted to its codes by least squares. Other than there, the zero point is a whole number
    during the search and not rounded after it, so that no block is worse than with `range_grid`.
    """
    first = range_grid(values, bits, symmetric=symmetric)
    scales, zeros = first.scales.copy(), first.zeros.copy()
    weights = np.ones_like(values) if weights is None else weights
    best = _error(values, first, weights)
    top = (1 << bits) - 1
    least = np.minimum(values.min(axis=1, keepdims=True), 0)
    for trial in TRIALS:
        trial_scales = first.scales * np.float32(top / (top + trial))
        trial_zeros = zeros if symmetric else _zero_of(least, trial_scales, top)
        codes = encode(values, trial_scales, trial_zeros, bits) - trial_zeros
        squares = (weights * codes * codes).sum(axis=1, keepdims=True)
        fitted = (weights * codes * values).sum(axis=1, keepdims=True) / np.where(squares == 0, 1, squares)
        error = (weights * (codes * fitted - values) ** 2).sum(axis=1, keepdims=True)
        better = error < best
        best = np.where(better, error, best)
        scales, zeros = np.where(better, fitted, scales), np.where(better, trial_zeros, zeros)
    return Grid(scales, zeros, bits)


def _zero_of(least: Reals, scales: Reals, top: int) -> Reals:
    safe = np.where(scales == 0, np.float32(1), scales)
    return np.clip(np.rint(-least / safe), 0, top).astype(np.float32)


def _error(values: Reals, grid: Grid, weights: Reals) -> Reals:
    difference = grid.nearest(values) - values
    return np.asarray((weights * difference * difference).sum(axis=1, keepdims=True))
