"""Ranges of int8 weights with which no processor's sums of products overflow."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx_ir as ir

    from modelwright.api.runner import Floats


def ranges_without_saturation(
    graph: ir.Model, nodes: Collection[str], *, per_channel: bool
) -> dict[str, list[dict[str, Any]]]:
    """The range of each two-dimensional constant weight of these nodes, as ONNX Runtime's quantizers take it.

    The value of their option `TensorQuantOverrides`. x86 without VNNI adds two neighbouring products of uint8
    and int8 in 16 bits, which saturate beyond 32,767 (ONNX Runtime, Quantize ONNX models, "When to use
    reduce-range"). In these ranges 255 times the two weights stays below, so that integer sums are equal with
    and without VNNI. 7 bits (`reduce_range`) guarantee the same and cost every channel half of its levels;
    its two largest weights are seldom neighbours of one sign, so that most lose a few levels or none.

    Nothing is said of weights with more dimensions. Of one that is read both as it is and transposed, the
    range is that of the last node.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for node in graph.graph:
        value = node.inputs[1] if node.name in nodes else None
        tensor = value.const_value if value is not None else None
        if value is None or tensor is None or len(tensor.shape) != 2:
            continue
        transposed = node.op_type == "Gemm" and node.attributes.get_int("transB", 0) == 1
        weight = tensor.numpy()
        limits = safe_limits(weight.T if transposed else weight)
        if per_channel:
            axis = 0 if transposed else 1
            found[str(value.name)] = [{"axis": axis, "rmin": -limit, "rmax": limit} for limit in limits]
        else:
            found[str(value.name)] = [{"rmin": -limits.max(), "rmax": limits.max()}]
    return found


def safe_limits(weight: Floats) -> Floats:
    """Each column's largest sum of two neighbouring rows of one sign, shape [n], for a weight [k, n].

    As the magnitude that 127 stands for, it leaves two neighbours at most 128 after rounding, and
    128 · 255 < 2¹⁵. A product's kernels take rows in twos from the first on.
    """
    rows, columns = weight.shape
    even = np.concatenate([weight, np.zeros((rows % 2, columns), weight.dtype)])
    pairs = even.reshape(-1, 2, columns)
    above = np.maximum(pairs, 0).sum(axis=1).max(axis=0)
    below = np.maximum(-pairs, 0).sum(axis=1).max(axis=0)
    return np.asarray(np.maximum(above, below))
