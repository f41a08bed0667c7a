"""Blocks on the grid of least weighted error, as in llama.cpp's k-quants."""

from __future__ import annotations

import numpy as np

from modelwright_plugins.weight_only.blocks import BlockWeight, Reals
from modelwright_plugins.weight_only.by_rows import quantize_rows
from modelwright_plugins.weight_only.grid import Grid, searched_grid


def k_quant(weight: Reals, bits: int, block_size: int, *, symmetric: bool) -> BlockWeight:
    """Quantize a matrix [inputs, outputs]; no data are needed.

    >>> k_quant(weight, 4, 32, symmetric=False).dequantize()                # [outputs, inputs]

    Large weights count more: each error is weighted with the weight's magnitude plus its block's root mean
    square (llama.cpp, ggml-quants.c). ONNX Runtime's own k-quant rounds the zero point after the search,
    which makes blocks worse than rounding to nearest; here it is whole throughout.
    """

    def grid(values: Reals) -> Grid:
        spread = np.sqrt((values * values).mean(axis=1, keepdims=True))
        return searched_grid(values, bits, symmetric=symmetric, weights=np.abs(values) + spread)

    return quantize_rows(weight, block_size, grid, symmetric=symmetric)
