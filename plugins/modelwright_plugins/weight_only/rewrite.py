"""Putting blocks of few bits in the place of an ONNX graph's float weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from modelwright_plugins.format.onnx_graph import add_initializer
from modelwright_plugins.weight_only.blocks import BlockWeight
from modelwright_plugins.weight_only.layers import Layer

if TYPE_CHECKING:
    import onnx_ir as ir

DOMAIN = "com.microsoft"


def quantize_layer(model: ir.Model, layer: Layer, weight: BlockWeight, accuracy_level: int) -> list[ir.Value]:
    """Turn a layer's nodes into MatMulNBits; the initializers they read, for `quantize_lookups` to share.

    A Gemm's bias becomes MatMulNBits' own where it is one value per output, else an Add follows.
    """
    import onnx_ir as ir

    values = _initializers(model.graph, str(layer.weight.name), weight, weight.packed)
    for node in layer.nodes:
        bias = node.inputs[2] if node.op_type == "Gemm" and len(node.inputs) > 2 else None
        inputs = [node.inputs[0], *values]
        if bias is not None:
            tensor = bias.const_value
            if tensor is not None and tuple(tensor.shape) == (weight.outputs,):
                inputs = [*inputs, *[None] * (5 - len(inputs)), bias]
            else:
                _add_after(model, node, bias)
        _become(node, "MatMulNBits", inputs)
        settings = {
            "K": weight.inputs, "N": weight.outputs, "bits": weight.bits,
            "block_size": weight.block_size, "accuracy_level": accuracy_level,
        }  # fmt: skip
        for name, number in settings.items():
            node.attributes.add(ir.AttrInt64(name, number))
    model.graph.opset_imports[DOMAIN] = 1
    return values


def quantize_lookups(
    model: ir.Model, nodes: Sequence[ir.Node], weight: BlockWeight, shared: Sequence[ir.Value] | None = None
) -> None:
    """Turn Gather nodes into GatherBlockQuantized, on initializers `shared` with a layer or on their own.

    GatherBlockQuantized reads the same bytes in the same order as MatMulNBits, in two dimensions instead of
    three: a Reshape in front of it lets the file hold them once.
    """
    import onnx_ir as ir

    graph, name = model.graph, str(nodes[0].name)
    flat = weight.packed.reshape(weight.outputs, -1)
    if shared is None:
        values = _initializers(graph, name, weight, flat)
    else:
        shape = add_initializer(graph, f"{name}_rows_shape", np.array(flat.shape))
        rows = ir.node("Reshape", [shared[0], shape], name=f"{name}_rows")
        rows.outputs[0].name = f"{name}_rows"
        graph.insert_before(next(iter(graph)), rows)
        values = [rows.outputs[0], *shared[1:]]
    settings = {"gather_axis": 0, "quantize_axis": 1, "block_size": weight.block_size, "bits": weight.bits}
    for node in nodes:
        inputs = [values[0], node.inputs[1], *values[1:]]
        if weight.inputs == flat.shape[1] * 8 // weight.bits:
            _become(node, "GatherBlockQuantized", inputs)
            lookup = node
        else:
            lookup = ir.node("GatherBlockQuantized", inputs, domain=DOMAIN, name=f"{node.name}_padded")
            lookup.outputs[0].name = f"{node.name}_padded"
            graph.insert_before(node, lookup)
            bounds = [
                add_initializer(graph, f"{node.name}_{part}", np.array([number]))
                for part, number in (("start", 0), ("end", weight.inputs), ("axis", -1))
            ]
            _become(node, "Slice", [lookup.outputs[0], *bounds], domain="")
        for key, number in settings.items():
            lookup.attributes.add(ir.AttrInt64(key, number))
    graph.opset_imports[DOMAIN] = 1


def _initializers(graph: ir.Graph, name: str, weight: BlockWeight, packed: np.ndarray) -> list[ir.Value]:
    arrays = {f"Q{weight.bits}": packed, "scales": weight.scales, "zero_points": weight.zero_points}
    return [
        add_initializer(graph, f"{name}_{part}", array) for part, array in arrays.items() if array is not None
    ]


def _become(node: ir.Node, operator: str, inputs: Sequence[ir.Value | None], domain: str = DOMAIN) -> None:
    """Change a node's operator in place, so that its outputs keep their names and readers."""
    node.domain, node.op_type = domain, operator
    node.attributes.clear()
    node.resize_inputs(len(inputs))
    for index, value in enumerate(inputs):
        node.replace_input_with(index, value)


def _add_after(model: ir.Model, node: ir.Node, bias: ir.Value) -> None:
    """Add a bias to a node's output."""
    import onnx_ir as ir

    output = node.outputs[0]
    name = str(output.name)
    users = list(output.uses())
    add = ir.node("Add", [output, bias], name=f"{node.name}_bias")
    result = add.outputs[0]
    result.shape, result.dtype = output.shape, output.dtype
    for user, index in users:
        user.replace_input_with(index, result)
    for index, value in enumerate(model.graph.outputs):
        if value is output:
            model.graph.outputs[index] = result
    output.name, result.name = f"{name}_unbiased", name
    model.graph.insert_after(node, add)
