"""Quantizing a matrix whose blocks do not depend on each other, a few rows at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from modelwright_plugins.weight_only.blocks import BlockWeight, Reals, blocks_of
from modelwright_plugins.weight_only.grid import Grid

# So few that what a search keeps beside them stays in the processor's cache.
WEIGHTS_AT_ONCE = 1 << 16


def quantize_rows(
    weight: Reals, block_size: int, grid: Callable[[Reals], Grid], *, symmetric: bool
) -> BlockWeight:
    """Round a matrix [inputs, outputs] to the grids that `grid` gives for its blocks [n, block_size].

    The results of other methods are packed here alike; symmetric ones store no zero points.
    """
    inputs, outputs = weight.shape
    blocks = -(-inputs // block_size)
    rows = max(1, WEIGHTS_AT_ONCE // (blocks * block_size))
    codes = np.empty((outputs, blocks, block_size), np.uint8)
    scales = np.empty((outputs, blocks), np.float32)
    zeros = np.empty((outputs, blocks), np.uint8)
    bits = 4
    for start in range(0, outputs, rows):
        values = blocks_of(weight[:, start : start + rows], block_size)
        found = grid(values.reshape(-1, block_size))
        bits = found.bits
        codes[start : start + rows] = found.codes(values.reshape(-1, block_size)).reshape(values.shape)
        scales[start : start + rows] = found.scales.reshape(values.shape[:2])
        zeros[start : start + rows] = found.zeros.reshape(values.shape[:2])
    return BlockWeight.pack(codes, scales, None if symmetric else zeros, bits=bits, inputs=inputs)
