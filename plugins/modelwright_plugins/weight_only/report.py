"""What weight-only quantization did to a graph, for the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from pydantic import JsonValue

from modelwright_plugins.weight_only.blocks import BlockWeight
from modelwright_plugins.weight_only.layers import Layer
from modelwright_plugins.weight_only.methods import MethodName, method_of

if TYPE_CHECKING:
    import onnx_ir as ir

Candidates = Mapping[str, Mapping[int, BlockWeight]]


def layer_table(
    layers: Sequence[Layer],
    bits: Mapping[str, int],
    candidates: Candidates,
    sensitivity: Mapping[str, float],
    method: MethodName,
) -> list[JsonValue]:
    """A row per layer: bits, method, relative error of its weights, what it alone does to the outputs."""
    rows: list[JsonValue] = []
    for layer in layers:
        weight = candidates[layer.name].get(bits[layer.name])
        row: dict[str, JsonValue] = {
            "node": layer.name,
            "weight": str(layer.weight.name),
            "inputs": layer.inputs,
            "outputs": layer.outputs,
            "bits": bits[layer.name],
            "method": "none" if weight is None else method_of(layer, method),
            "error": 0.0 if weight is None else _relative_error(layer, weight),
        }
        if layer.name in sensitivity:
            row["sensitivity"] = sensitivity[layer.name]
        rows.append(row)
    return rows


def mean_bits(
    layers: Sequence[Layer], bits: Mapping[str, int], candidates: Candidates
) -> dict[str, JsonValue]:
    """Mean bits per weight over the layers: of the codes alone, and with scales and zero points."""
    count = sum(layer.size for layer in layers)
    codes = sum(layer.size * bits[layer.name] for layer in layers)
    stored = sum(_stored_bits(layer, candidates[layer.name].get(bits[layer.name])) for layer in layers)
    return {"codes": codes / count, "with_scales": stored / count} if count else {}


def initializer_bytes(graph: ir.Model) -> int:
    """Bytes of all constants of a graph."""
    return sum(value.const_value.nbytes for value in graph.graph.initializers.values() if value.const_value)


def _relative_error(layer: Layer, weight: BlockWeight) -> float:
    """Root of the mean squared error over that of the mean square."""
    matrix = layer.matrix()
    difference = weight.dequantize().T - matrix
    return float(np.linalg.norm(difference) / max(float(np.linalg.norm(matrix)), 1e-30))


def _stored_bits(layer: Layer, weight: BlockWeight | None) -> int:
    return layer.size * layer.dtype.itemsize * 8 if weight is None else weight.nbytes * 8
