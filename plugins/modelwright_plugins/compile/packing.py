"""An exact rewrite of a decoder's graph, quantized or not, into fewer and larger operators.

Each new token starts every operator once, which on a CPU takes about as long as a small product.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from modelwright_plugins.format.onnx_graph import add_initializer, remove_unused, tensor_values

if TYPE_CHECKING:
    import onnx_ir as ir

# Operators that multiply by constants, and the axis of those along which outputs lie.
OUTPUT_AXIS = {"MatMul": -1, "MatMulNBits": 0}
# MatMulNBits' input that says to which block each of its inputs belongs; it has no axis of outputs.
REORDERING = 4


def pack_products(model: ir.Model) -> int:
    """Make products with one input one product, whose result is split: query, key and value; gate and up.

    Only those of one kind (bits, block size, arithmetic) whose weights nothing else reads. Returns how many
    were made of several.
    """
    groups: dict[object, list[ir.Node]] = defaultdict(list)
    for node in model.graph:
        reordered = len(node.inputs) > REORDERING and node.inputs[REORDERING] is not None
        constants = all(_is_own_constant(node, value) for value in node.inputs[1:])
        if node.op_type in OUTPUT_AXIS and constants and not reordered:
            groups[_kind(node)].append(node)
    joined = [nodes for nodes in groups.values() if len(nodes) > 1]
    for nodes in joined:
        _join(model, nodes)
    remove_unused(model)
    model.graph.sort()
    return len(joined)


def _is_own_constant(node: ir.Node, value: ir.Value | None) -> bool:
    if value is None:
        return True
    if not value.is_initializer() or value.is_graph_input() or len(value.uses()) != 1:
        return False
    return node.op_type != "MatMul" or (value.shape is not None and len(value.shape) == 2)


def _kind(node: ir.Node) -> object:
    """Equal for products that can be one: same input, operator, attributes and kinds of constants."""
    attributes = {name: attribute.value for name, attribute in node.attributes.items() if name != "N"}
    constants = [
        None if value is None or value.const_value is None else (value.dtype, _beside(node, value))
        for value in node.inputs[1:]
    ]
    return (id(node.inputs[0]), node.domain, node.op_type, str(sorted(attributes.items())), str(constants))


def _beside(node: ir.Node, value: ir.Value) -> list[int]:
    """A constant's dimensions but for that of the outputs."""
    assert value.const_value is not None
    shape = list(value.const_value.shape.numpy())
    del shape[OUTPUT_AXIS[node.op_type]]
    return shape


def _join(model: ir.Model, nodes: list[ir.Node]) -> None:
    import onnx_ir as ir

    first = nodes[0]
    axis = OUTPUT_AXIS[first.op_type]
    inputs = [first.inputs[0]]
    for index, value in enumerate(first.inputs[1:], start=1):
        if value is None:
            inputs.append(None)
            continue
        parts = [tensor_values(_given(node, index)) for node in nodes]
        inputs.append(add_initializer(model.graph, f"{value.name}_joined", np.concatenate(parts, axis=axis)))
    sizes = [_outputs(node) for node in nodes]
    name = first.outputs[0].name  # unique, which names of nodes need not be
    product = ir.node(first.op_type, inputs, domain=first.domain, name=f"{name}_joined")
    for key, attribute in first.attributes.items():
        product.attributes[key] = ir.AttrInt64("N", sum(sizes)) if key == "N" else attribute
    whole = product.outputs[0]
    whole.name, whole.dtype = product.name, first.outputs[0].dtype
    lengths = add_initializer(model.graph, f"{name}_split_sizes", np.array(sizes, np.int64))
    split = ir.node(
        "Split", [whole, lengths], attributes={"axis": -1}, num_outputs=len(sizes), name=f"{name}_split"
    )
    model.graph.insert_before(first, [product, split])
    for node, part in zip(nodes, split.outputs, strict=True):
        old = node.outputs[0]
        part.name, part.shape, part.type = f"{old.name}_part", old.shape, old.type
        old.replace_all_uses_with(part, replace_graph_outputs=True)
    model.graph.remove(nodes, safe=True)


def _outputs(node: ir.Node) -> int:
    tensor = _given(node, 1).const_value
    assert tensor is not None
    return int(tensor.shape.numpy()[OUTPUT_AXIS[node.op_type]])


def _given(node: ir.Node, index: int) -> ir.Value:
    value = node.inputs[index]
    assert value is not None, "products of one kind have the same inputs"
    return value
