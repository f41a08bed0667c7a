"""Weights in blocks of few bits, packed as ONNX Runtime's MatMulNBits reads them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint8]
Reals = NDArray[np.float32]


@dataclass(frozen=True)
class BlockWeight:
    """A matrix [outputs, inputs] whose rows are cut into blocks, each with a scale and a zero point.

    >>> weight = BlockWeight.pack(codes, scales, zero_points, bits=4, inputs=192)
    >>> weight.dequantize().shape                       # (code - zero point) * scale, float32
    (outputs, inputs)

    The layout is that of MatMulNBits (com.microsoft, ONNX Runtime's contrib operators): `packed` is uint8
    [outputs, blocks, block_size * bits / 8], low bits first; `scales` are [outputs, blocks] in the dtype of
    the activations; `zero_points` are uint8 [outputs, ceil(blocks * bits / 8)], or None where all of them are
    2 ** (bits - 1). The last block of a row is filled up beyond `inputs`.
    """

    packed: Codes
    scales: NDArray[np.floating]
    zero_points: Codes | None
    bits: int
    inputs: int

    @classmethod
    def pack(
        cls, codes: Codes, scales: NDArray[np.floating], zero_points: Codes | None, *, bits: int, inputs: int
    ) -> BlockWeight:
        """Pack codes [outputs, blocks, block_size], scales and zero points [outputs, blocks]."""
        zeros = None if zero_points is None else _pack_rows(zero_points, bits)
        return cls(_pack_rows(codes, bits), scales, zeros, bits, inputs)

    @property
    def block_size(self) -> int:
        """Inputs that share a scale."""
        return self.packed.shape[2] * 8 // self.bits

    @property
    def outputs(self) -> int:
        """Rows."""
        return int(self.packed.shape[0])

    @property
    def nbytes(self) -> int:
        """Bytes of codes, scales and zero points."""
        zeros = 0 if self.zero_points is None else self.zero_points.nbytes
        return self.packed.nbytes + self.scales.nbytes + zeros

    def codes(self) -> Codes:
        """Codes of shape [outputs, blocks, block_size]."""
        return _unpack_rows(self.packed, self.bits)

    def zeros(self) -> Codes:
        """Zero points of shape [outputs, blocks]."""
        if self.zero_points is None:
            return np.full(self.scales.shape, 1 << (self.bits - 1), np.uint8)
        return _unpack_rows(self.zero_points, self.bits)[:, : self.scales.shape[1]]

    def dequantize(self) -> Reals:
        """The matrix that the kernels compute with, float32 [outputs, inputs]."""
        values = self.codes().astype(np.float32)
        values -= self.zeros()[:, :, None]
        values *= self.scales.astype(np.float32)[:, :, None]
        return values.reshape(self.outputs, -1)[:, : self.inputs]

    def with_scales(self, dtype: np.dtype[np.floating]) -> BlockWeight:
        """The same with scales in the dtype of the activations."""
        return BlockWeight(self.packed, self.scales.astype(dtype), self.zero_points, self.bits, self.inputs)


def blocks_of(weight: Reals, block_size: int) -> Reals:
    """A matrix [inputs, outputs] as blocks [outputs, blocks, block_size], the last filled up with zeros."""
    inputs, outputs = weight.shape
    blocks = -(-inputs // block_size)
    result = np.zeros((outputs, blocks * block_size), np.float32)
    result[:, :inputs] = weight.T
    return result.reshape(outputs, blocks, block_size)


def encode(values: Reals, scales: Reals, zeros: NDArray[np.number], bits: int) -> Codes:
    """The nearest codes of values; `scales` and `zeros` broadcast over them. A scale of 0 gives the zero."""
    safe = np.where(scales == 0, np.float32(1), scales)
    return np.clip(np.rint(values / safe) + zeros, 0, (1 << bits) - 1).astype(np.uint8)


def _pack_rows(codes: Codes, bits: int) -> Codes:
    if bits == 8:
        return np.ascontiguousarray(codes)
    if codes.shape[-1] % 2:
        codes = np.concatenate([codes, np.zeros((*codes.shape[:-1], 1), np.uint8)], axis=-1)
    return np.asarray(codes[..., ::2] | codes[..., 1::2] << 4, np.uint8)


def _unpack_rows(packed: Codes, bits: int) -> Codes:
    if bits == 8:
        return packed
    codes = np.empty((*packed.shape[:-1], packed.shape[-1] * 2), np.uint8)
    codes[..., ::2] = packed & 15
    codes[..., 1::2] = packed >> 4
    return codes
