"""Half-quadratic quantization of blocks of weights."""

from __future__ import annotations

import numpy as np

from modelwright_plugins.weight_only.blocks import BlockWeight, Reals, encode
from modelwright_plugins.weight_only.by_rows import quantize_rows
from modelwright_plugins.weight_only.grid import Grid, range_grid

NORM, BETA, GROWTH, STEPS = 0.7, 10.0, 1.01, 20


def half_quadratic(weight: Reals, bits: int, block_size: int, *, symmetric: bool) -> BlockWeight:
    """Quantize a matrix [inputs, outputs]; no data are needed.

    >>> half_quadratic(weight, 4, 32, symmetric=False).dequantize()         # [outputs, inputs]

    HQQ (Badri and Shaji 2023) lessens the sum of the errors' magnitudes to the power 0.7, which outliers
    hardly move, by turns: a proximal step sets apart the errors that are large, then the grid is fitted to
    the rest. There the zero point is a real number; MatMulNBits runs those hundreds of times slower, so here
    it is rounded after its steps and the scale is fitted in as many more. A block keeps the range's grid
    where that has the smaller error. ONNX Runtime's own HQQ needs torch and gives real zero points.
    """
    return quantize_rows(
        weight, block_size, lambda values: half_quadratic_grid(values, bits, symmetric), symmetric=symmetric
    )


def half_quadratic_grid(values: Reals, bits: int, symmetric: bool) -> Grid:
    """The grid of blocks [n, block_size]."""
    start = range_grid(values, bits, symmetric=symmetric)
    scales: Reals = np.where(start.scales == 0, np.float32(1), start.scales)
    zeros = start.zeros
    beta, top = BETA, (1 << bits) - 1
    for _ in range(0 if symmetric else STEPS):
        steps = values / scales
        # With a real zero point, codes are rounded after it is added.
        codes = np.clip(np.rint(steps + zeros), 0, top)
        large = _shrink(steps - (codes - zeros), beta)
        zeros = (codes - steps + large).mean(axis=1, keepdims=True)
        beta *= GROWTH
    zeros = np.clip(np.rint(zeros), 0, top)
    beta = BETA
    for _ in range(STEPS):
        codes = encode(values, scales, zeros, bits) - zeros
        large = _shrink(values / scales - codes, beta) * scales
        squares = (codes * codes).sum(axis=1, keepdims=True)
        fitted = (codes * (values - large)).sum(axis=1, keepdims=True) / np.where(squares == 0, 1, squares)
        scales = np.where(fitted == 0, scales, fitted)
        beta *= GROWTH
    found = Grid(scales.astype(np.float32), zeros.astype(np.float32), bits)
    better = _error(values, found) < _error(values, start)
    return Grid(
        np.where(better, found.scales, start.scales), np.where(better, found.zeros, start.zeros), bits
    )


def _shrink(errors: Reals, beta: float) -> Reals:
    """The proximal step for the norm, on errors in units of a grid step."""
    size = np.abs(errors)
    return np.asarray(np.sign(errors) * np.maximum(size - (size + 1e-8) ** (NORM - 1) / beta, 0))


def _error(values: Reals, grid: Grid) -> Reals:
    return np.asarray((np.abs(grid.nearest(values) - values) ** NORM).sum(axis=1, keepdims=True))
