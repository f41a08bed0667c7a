"""An optional input that limits the logits to the last positions of a step."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir

NAME = "logits_to_keep"
ALL = 2**31 - 1
# What may stand between the product with the vocabulary and the logits: scaling, capping, a cast.
AFTER = frozenset({"Add", "Mul", "Div", "Tanh", "Cast"})


def limit_logits(model: onnx_ir.Model) -> bool:
    """Add `logits_to_keep` [1] int64: how many of the last positions get logits; all when it is not given.

    The first token after a long prompt needs the logits of one position, and the vocabulary is often the
    largest product of all. The input has a default (an overridable initializer), so a runtime that does not
    know it gets every logit. False where the product was not found and nothing was changed.
    """
    import numpy as np
    import onnx_ir

    graph = model.graph
    logits = next(value for value in graph.outputs if value.name == "logits")
    node, chain = logits.producer(), [logits]
    while node is not None and node.op_type in AFTER and node.inputs[0] is not None:
        if any(value is not None and not _constant(value) for value in node.inputs[1:]):
            return False
        chain.append(node.inputs[0])
        node = node.inputs[0].producer()
    if node is None or node.op_type != "MatMul" or node.inputs[0] is None:
        return False
    states = node.inputs[0]
    kept = onnx_ir.Value(
        name=NAME,
        type=onnx_ir.TensorType(onnx_ir.DataType.INT64),
        shape=onnx_ir.Shape([1]),
        const_value=onnx_ir.tensor(np.array([ALL]), name=NAME),
    )
    constants = []
    for name, number in (("end", ALL), ("axis", 1)):
        value = onnx_ir.Value(
            name=f"{NAME}.{name}",
            type=onnx_ir.TensorType(onnx_ir.DataType.INT64),
            shape=onnx_ir.Shape([1]),
            const_value=onnx_ir.tensor(np.array([number]), name=f"{NAME}.{name}"),
        )
        graph.register_initializer(value)
        constants.append(value)
    graph.inputs.append(kept)
    graph.register_initializer(kept)
    start = onnx_ir.node("Neg", [kept], name=f"{NAME}/Neg")
    part = onnx_ir.node("Slice", [states, start.outputs[0], *constants], name=f"{NAME}/Slice")
    part.outputs[0].type = states.type
    dimensions = list(states.shape or ())
    for value in (part.outputs[0], *chain):
        last = list(value.shape)[-1] if value.shape is not None else dimensions[-1]
        value.shape = onnx_ir.Shape([dimensions[0], onnx_ir.SymbolicDim("kept"), last])
    part.outputs[0].shape = onnx_ir.Shape([dimensions[0], onnx_ir.SymbolicDim("kept"), dimensions[-1]])
    graph.insert_before(node, [start, part])
    node.replace_input_with(0, part.outputs[0])
    return True


def _constant(value: onnx_ir.Value) -> bool:
    return value.const_value is not None or value.is_initializer()
