"""Graphs with a KV cache, as TensorRT takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from modelwright.errors import StageError
from modelwright_plugins.format.onnx_graph import add_initializer

if TYPE_CHECKING:
    import onnx_ir as ir

# Places of Attention's inputs (ONNX operators, Attention-23).
MASK, PAST_KEY, PAST_VALUE = 3, 4, 5
HEADS_LAST = [0, 2, 1, 3]


def join_caches_outside(model: ir.Model) -> int:
    """Take keys and values of the past out of each Attention, which TensorRT wants to be of one output.

    `Attention(q, k, v, mask, past_k, past_v)` of [batch, length, heads · width] becomes
    `Concat(past_k, k)`, which is the present, and `Attention` of four dimensions over it: the same values.
    Returns how many were changed. Raises StageError for one that masks by itself (is_causal counts from the
    first new token where no past is given) or that has more inputs or outputs.
    """
    found = [node for node in model.graph if node.op_type == "Attention" and len(node.inputs) > PAST_VALUE]
    for node in found:
        _require_plain(node)
    for node in found:
        _join_outside(model.graph, node)
    return len(found)


def _require_plain(node: ir.Node) -> None:
    given = [value for value in node.inputs if value is not None]
    heads = {"q_num_heads", "kv_num_heads"} <= {*node.attributes}
    causal = node.attributes.get_int("is_causal", 0)
    if len(given) == PAST_VALUE + 1 == len(node.inputs) and heads and not causal and len(node.outputs) == 3:
        return
    raise StageError(
        f"The attention '{node.name}' is not one whose cache can be joined in front of it.",
        where=f"node {node.name}",
        accepted="three dimensions, a mask, keys and values of the past and of the present, no is_causal",
        hint="export the model with export.onnx and attention=attention",
    )


def _join_outside(graph: ir.Graph, node: ir.Node) -> None:
    import onnx_ir as ir

    tape = ir.tape.Tape()
    prefix = node.outputs[0].name

    def heads(place: int, count: int) -> ir.Value:
        shape = add_initializer(graph, f"{prefix}_joined_heads_{place}", np.array([0, 0, count, -1]))
        split = tape.op("Reshape", [node.inputs[place], shape])
        return tape.op("Transpose", [split], attributes={"perm": HEADS_LAST})

    queries, kept = (node.attributes[name].as_int() for name in ("q_num_heads", "kv_num_heads"))
    query, key, value = heads(0, queries), heads(1, kept), heads(2, kept)
    present = [
        tape.op("Concat", [node.inputs[past], new], attributes={"axis": 2})
        for past, new in ((PAST_KEY, key), (PAST_VALUE, value))
    ]
    attributes = {
        name: value for name, value in node.attributes.items() if name not in ("q_num_heads", "kv_num_heads")
    }
    output = tape.op("Attention", [query, *present, node.inputs[MASK]], attributes=attributes)
    turned = tape.op("Transpose", [output], attributes={"perm": HEADS_LAST})
    flat = add_initializer(graph, f"{prefix}_joined_flat", np.array([0, 0, -1]))
    joined = tape.op("Reshape", [turned, flat])
    for number, made in enumerate(tape.nodes):
        made.name = f"{node.name}_joined_{number}"
        made.outputs[0].name = f"{prefix}_joined_{number}"
    # The attention keeps its name, so that a refusal names the layer.
    attention = output.producer()
    assert attention is not None
    attention.name = str(node.name)
    outputs = (joined, *present)
    ir.convenience.replace_nodes_and_values(graph, node, [node], tape.nodes, node.outputs, outputs)
