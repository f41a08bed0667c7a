"""SmoothQuant: move outlier channels from activations into weights before both are quantized."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from modelwright.api.runner import Inputs
from modelwright_plugins.format.onnx_graph import add_initializer

if TYPE_CHECKING:
    import onnx_ir as ir

SMALLEST = 1e-5
FLOATS = (np.float16, np.float32)


def smooth(
    model: ir.Model, batches: Iterable[Inputs], alpha: float, excluded: frozenset[str] = frozenset()
) -> int:
    """Divide each input of constant `MatMul`s by a factor per channel and multiply their weights by it.

    Returns how many inputs were. The graph computes what it did before; its activations are easier to
    quantize. A channel's factor is `max|x|^alpha / max|w|^(1 - alpha)` over the texts of `batches` and the
    weights that read it (Xiao et al. 2023, arXiv:2211.10438, eq. 4), scaled to a geometric mean of 1. The
    division is a `Mul` of its own: after a normalization the undivided values feed the residual too. Nodes
    named in `excluded` are left alone.
    """
    import onnx_ir as ir

    groups = _readers(model, excluded)
    if not groups:
        return 0
    largest = _largest(model, list(groups), batches)
    for value, nodes in groups.items():
        weights = [_weight(node) for node in nodes]
        widest = np.maximum(np.max([np.abs(weight).max(axis=1) for weight in weights], axis=0), SMALLEST)
        factor = np.maximum(largest[value], SMALLEST) ** alpha / widest ** (1 - alpha)
        dtype = weights[0].dtype
        factor = _within(factor / np.exp(np.log(factor).mean()), widest, dtype)
        inverse = add_initializer(model.graph, f"{value.name}_smooth_factor", (1 / factor).astype(dtype))
        divide = ir.node("Mul", [value, inverse], name=f"{value.name}_smooth")
        smoothed = divide.outputs[0]
        smoothed.name, smoothed.shape, smoothed.dtype = f"{value.name}_smoothed", value.shape, value.dtype
        model.graph.insert_before(nodes[0], [divide])
        for node, weight in zip(nodes, weights, strict=True):
            product = (weight * factor[:, None]).astype(dtype)
            scaled = add_initializer(model.graph, f"{node.name}_smooth_weight", product)
            before = node.inputs[1]
            node.replace_input_with(0, smoothed)
            node.replace_input_with(1, scaled)
            if before is not None and not before.uses():
                del model.graph.initializers[str(before.name)]
    return len(groups)


def _within(factor: np.ndarray, widest: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Factors whose inverses and products with the weights are numbers of a type; half precision ends early.

    A channel that is never used would get the largest inverse.
    """
    room = float(np.finfo(dtype).max) / 2
    return np.clip(factor, 1 / room, np.maximum(room / np.maximum(widest, 1), 1)).astype(np.float32)


def _readers(model: ir.Model, excluded: frozenset[str]) -> dict[ir.Value, list[ir.Node]]:
    """The `MatMul`s with constant float weights [in, out], by the value they read, in the graph's order."""
    groups: dict[ir.Value, list[ir.Node]] = defaultdict(list)
    for node in model.graph:
        if node.op_type != "MatMul" or node.name in excluded or node.inputs[0] is None:
            continue
        if node.inputs[1] is None:
            continue
        tensor = node.inputs[1].const_value
        if tensor is not None and len(tensor.shape) == 2 and tensor.numpy().dtype in FLOATS:
            groups[node.inputs[0]].append(node)
    return dict(groups)


def _largest(
    model: ir.Model, values: list[ir.Value], batches: Iterable[Inputs]
) -> dict[ir.Value, np.ndarray]:
    """The largest magnitude of each channel of some values over all texts; arrays [channels]."""
    from modelwright_plugins.quantize.graph_values import values_of

    found = {value: np.zeros(1, np.float32) for value in values}
    for arrays in values_of(model, [str(value.name) for value in values], batches):
        for value in values:
            array = np.abs(arrays[str(value.name)])
            found[value] = np.maximum(found[value], array.reshape(-1, array.shape[-1]).max(axis=0))
    return found


def _weight(node: ir.Node) -> np.ndarray:
    assert node.inputs[1] is not None
    assert node.inputs[1].const_value is not None
    return np.asarray(node.inputs[1].const_value.numpy())
