"""Clip weights to the range that one scale per tensor represents best."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from modelwright_plugins.format.onnx_graph import add_initializer

if TYPE_CHECKING:
    import onnx_ir as ir

LEVELS = 127
# Shares of the largest magnitude that are tried.
SHARES = np.linspace(0.1, 1.0, 46)


def clip_weights(model: ir.Model, excluded: frozenset[str] = frozenset()) -> int:
    """Clip each constant float weight of MatMul and Gemm where that lowers its int8 error; how many it did.

    With one scale for a whole tensor a few large weights leave the others few levels. The range kept is the
    one of least mean squared error after symmetric rounding to 8 bits (as in Banner et al. 2019, Post
    training 4-bit quantization of convolutional networks, §3). Nodes named in `excluded` are left alone.
    """
    done = 0
    for node in model.graph:
        if node.op_type not in ("MatMul", "Gemm") or node.name in excluded or len(node.inputs) < 2:
            continue
        value = node.inputs[1]
        tensor = value.const_value if value is not None else None
        weight = tensor.numpy() if tensor is not None else None
        if weight is None or weight.ndim != 2 or weight.dtype != np.float32:
            continue
        limit = best_range(weight)
        if limit < np.abs(weight).max():
            clipped = add_initializer(model.graph, f"{node.name}_clipped", np.clip(weight, -limit, limit))
            node.replace_input_with(1, clipped)
            if value is not None and not value.uses():
                del model.graph.initializers[str(value.name)]
            done += 1
    return done


def best_range(weight: np.ndarray) -> float:
    """The magnitude up to which a tensor is represented best by 127 levels on either side of zero."""
    largest = float(np.abs(weight).max())
    if largest == 0:
        return 0.0
    errors = [float(np.mean((_rounded(weight, largest * share) - weight) ** 2)) for share in SHARES]
    return largest * float(SHARES[int(np.argmin(errors))])


def _rounded(weight: np.ndarray, limit: float) -> np.ndarray:
    scale = limit / LEVELS
    return np.asarray(np.clip(np.round(weight / scale), -LEVELS, LEVELS) * scale)
