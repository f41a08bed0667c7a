"""Rotary positions as llama2.c computes them (Su et al. 2021, RoFormer): base 10,000, neighbours paired."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from modelwright.api.runner import Floats

BASE = 10000.0


def tables(positions: NDArray[np.int64], head_dim: int) -> tuple[Floats, Floats]:
    """Cosines and sines of each pair's angle, of the shape of `positions` and [head_dim / 2]."""
    exponents = np.arange(0, head_dim, 2, dtype=np.float32) / np.float32(head_dim)
    frequencies = np.float32(1) / np.float32(BASE) ** exponents
    angles = positions.astype(np.float32)[..., None] * frequencies
    return np.cos(angles), np.sin(angles)


def rotate(heads: Floats, cosines: Floats, sines: Floats) -> Floats:
    """Rotate heads of shape [batch, length, heads, head_dim] by tables of [batch, length, head_dim / 2]."""
    cosines, sines = cosines[:, :, None], sines[:, :, None]
    even, odd = heads[..., 0::2], heads[..., 1::2]
    result = np.empty_like(heads)
    result[..., 0::2] = even * cosines - odd * sines
    result[..., 1::2] = even * sines + odd * cosines
    return result
