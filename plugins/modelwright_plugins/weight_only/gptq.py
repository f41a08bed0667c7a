"""GPTQ: rounding column by column, each error made up for by the columns that follow."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from modelwright.errors import StageError
from modelwright_plugins.weight_only.blocks import BlockWeight, Reals, encode
from modelwright_plugins.weight_only.grid import Grid, searched_grid

# Inputs whose corrections are applied to all later ones at once.
LAZY = 128
# Outputs are independent of each other; so many at once keep a batch of columns in the processor's cache.
OUTPUTS_AT_ONCE = 2048


def gptq(
    weight: Reals,
    hessian: NDArray[np.float64],
    bits: int,
    block_size: int,
    *,
    symmetric: bool,
    damping: float = 0.01,
    act_order: bool = False,
) -> BlockWeight:
    """Quantize a matrix [inputs, outputs] so that its outputs on calibration data change least.

    >>> gptq(weight, inputs.T @ inputs, 4, 32, symmetric=False).dequantize()      # [outputs, inputs]

    `hessian` is the sum of outer products of the layer's inputs, [inputs, inputs]; `damping` is added to its
    diagonal as a share of the mean. With `act_order` the inputs of greatest energy are rounded first, on
    grids fixed beforehand. A block's grid is that of least squared error, each input weighted with its
    energy. Inputs that never occurred are rounded to nearest. Method: GPTQ (Frantar et al. 2023,
    arXiv:2210.17323), which ONNX Runtime's own version rounds a second time, on another grid, to pack.
    """
    inputs, outputs = weight.shape
    energy = hessian.diagonal().copy()
    order = np.argsort(-energy, kind="stable") if act_order else np.arange(inputs)
    inverse = _inverse_factor(hessian[np.ix_(order, order)], damping)
    codes = np.empty((-(-inputs // block_size) * block_size, outputs), np.uint8)
    blocks = len(codes) // block_size
    scales, zeros = (np.empty((blocks, outputs), np.float32) for _ in range(2))
    importance = np.zeros(len(codes), np.float32)
    importance[:inputs] = np.maximum(energy / max(energy.mean(), 1e-30), 1e-6)

    for left in range(0, outputs, OUTPUTS_AT_ONCE):
        part = slice(left, left + OUTPUTS_AT_ONCE)
        rest = weight[order, part].astype(np.float32)
        fixed = weight[:, part]

        def fit(block: int, values: Reals, part: slice = part) -> None:
            rows = slice(block * block_size, (block + 1) * block_size)
            found = _grid(values, importance[rows], bits, symmetric)
            scales[block, part], zeros[block, part] = found.scales[:, 0], found.zeros[:, 0]

        if act_order:
            for block in range(blocks):
                fit(block, fixed[block * block_size : (block + 1) * block_size])
        for start in range(0, inputs, LAZY):
            end = min(start + LAZY, inputs)
            errors = np.empty((end - start, rest.shape[1]), np.float32)
            for row in range(start, end):
                column = int(order[row])
                block = column // block_size
                if not act_order and column % block_size == 0:
                    # The corrections of this batch that rows beyond it still lack.
                    ahead = rest[row : row + block_size].copy()
                    if row + block_size > end:
                        ahead[end - row :] -= (
                            inverse[start:row, end : row + block_size].T @ errors[: row - start]
                        )
                    fit(block, ahead)
                scale, zero = scales[block, part], zeros[block, part]
                found = encode(rest[row], scale, zero, bits)
                codes[column, part] = found
                error = (rest[row] - (found - zero) * scale) / inverse[row, row]
                rest[row:end] -= inverse[row, row:end, None] * error
                errors[row - start] = error
            rest[end:] -= inverse[start:end, end:].T @ errors
    for block in range(blocks):
        unused = slice(max(inputs, block * block_size), (block + 1) * block_size)
        codes[unused] = zeros[block].astype(np.uint8)
    return BlockWeight.pack(
        codes.T.reshape(outputs, blocks, block_size),
        np.ascontiguousarray(scales.T),
        None if symmetric else zeros.T.astype(np.uint8),
        bits=bits,
        inputs=inputs,
    )


def _inverse_factor(hessian: NDArray[np.float64], damping: float) -> Reals:
    """The upper Cholesky factor of the damped Hessian's inverse, [inputs, inputs]."""
    hessian = hessian.astype(np.float64)
    diagonal = np.einsum("ii->i", hessian)
    mean = diagonal.mean() or 1.0
    diagonal[diagonal == 0] = mean
    diagonal += damping * mean
    try:
        inverse = np.linalg.inv(hessian)
        return np.asarray(np.linalg.cholesky((inverse + inverse.T) / 2).T, dtype=np.float32)
    except np.linalg.LinAlgError as error:
        raise StageError(
            f"GPTQ finds no inverse of a Hessian of {len(hessian):,} inputs: {error}.",
            where=f"damping {damping}, of quantize.onnx_weight_only",
            accepted="calibration data that move every input, or more damping",
            hint="raise damping to 0.05 or samples to 128",
        ) from error


def _grid(values: Reals, importance: Reals, bits: int, symmetric: bool) -> Grid:
    """Grids of one block, values [block_size or fewer, outputs]."""
    rows = np.ascontiguousarray(values.T)
    weights = np.broadcast_to(importance[: rows.shape[1]], rows.shape)
    return searched_grid(rows, bits, symmetric=symmetric, weights=weights)
