"""llama2.c's 8-bit weights: symmetric int8 in groups along a row, each with a float32 scale (Q8_0)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from modelwright.api.runner import Floats

LARGEST = np.float32(127)


def fit_group(group_size: int, dim: int, hidden_dim: int) -> int:
    """The group size halved until rows of both widths are whole groups.

    llama2.c's export halves it for `dim` alone. Where `hidden_dim` is no multiple, its reader would leave the
    end of each row of `w2` out of the sum, so that is taken in as well.
    """
    while dim % group_size or hidden_dim % group_size:
        group_size //= 2
    return group_size


def quantize(values: Floats, group_size: int) -> tuple[NDArray[np.int8], Floats]:
    """Values of any shape as int8 of that shape and one scale for each group, in order."""
    groups = values.reshape(-1, group_size)
    scales = np.abs(groups).max(axis=1) / LARGEST
    quantized = np.rint(groups / _divisors(scales)[:, None])
    return quantized.astype(np.int8).reshape(values.shape), scales


def dequantize(values: NDArray[np.int8], scales: Floats) -> Floats:
    """The float32 values that int8 values with a scale for each group stand for."""
    groups = values.reshape(len(scales), -1).astype(np.float32)
    groups *= scales[:, None]
    return groups.reshape(values.shape)


def round_activations(values: Floats, group_size: int) -> Floats:
    """Activations as runq.c's integer products see them: rounded to 8 bits in groups, halves away from 0."""
    groups = values.reshape(-1, group_size)
    scales = (np.abs(groups).max(axis=1) / LARGEST)[:, None]
    scaled = groups / _divisors(scales)
    rounded = np.trunc(scaled + np.copysign(np.float32(0.5), scaled))
    return np.asarray(rounded * scales, np.float32).reshape(values.shape)


def _divisors(scales: Floats) -> Floats:
    """The scales, with 1 for a group of zeros."""
    return np.where(scales == 0, np.float32(1), scales)
