"""Rounding each weight to the nearest code."""

from __future__ import annotations

import numpy as np

from modelwright_plugins.weight_only.blocks import BlockWeight, Reals


def round_to_nearest(weight: Reals, bits: int, block_size: int, *, symmetric: bool) -> BlockWeight:
    """Quantize a matrix [inputs, outputs] with ONNX Runtime's own routine: a block's range, divided evenly.

    >>> round_to_nearest(weight, 4, 32, symmetric=False).dequantize()       # [outputs, inputs]

    Symmetric blocks map their weight of greatest magnitude to the lowest code, others their least and
    greatest (and 0) to the ends.
    """
    # What onnxruntime.quantization's own quantizer calls; importing that one reconfigures logging.
    from onnxruntime.capi._pybind_state import quantize_matmul_4bits, quantize_matmul_8bits

    inputs, outputs = weight.shape
    blocks = -(-inputs // block_size)
    packed = np.zeros((outputs, blocks, block_size * bits // 8), np.uint8)
    scales = np.zeros((outputs, blocks), np.float32)
    zeros = np.zeros((outputs, -(-blocks * bits // 8)), np.uint8)
    padded = np.zeros((blocks * block_size, outputs), np.float32)
    padded[:inputs] = weight
    routine = quantize_matmul_4bits if bits == 4 else quantize_matmul_8bits
    routine(packed, padded, scales, zeros, block_size, outputs, inputs, symmetric)
    # A negative scale is as good to the kernels; one of 0 leaves the codes of an empty block undefined.
    return BlockWeight(packed, scales, None if symmetric else zeros, bits, inputs)
