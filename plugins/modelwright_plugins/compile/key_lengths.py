"""Attention of an encoder that is told each text's length in place of a mask."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from modelwright_plugins.compile.rewrites import (
    attentions,
    drop_unattended_rows,
    flatten_heads,
    is_key_mask,
)
from modelwright_plugins.format.onnx_graph import add_initializer, remove_unused

if TYPE_CHECKING:
    import onnx_ir as ir

# The place of MultiHeadAttention's bias (com.microsoft), behind query, key and value; its mask follows.
BIAS = 3


def attend_by_lengths(model: ir.Model) -> int:
    """Make each `Attention` a MultiHeadAttention that gets lengths of texts, for rows padded on the right.

    With a mask ONNX Runtime's CUDA provider writes scores out; with lengths, and where each text begins
    (`MASK_1D_KEY_SEQ_LEN_START`), it computes attention in tiles, in memory that grows with the length.
    Done only where all layers read one mask that hides just the padded keys, in float16 and for heads whose
    width is a multiple of 8: for others, and where kernels are ruled out (`sdpa_kernel` of the provider,
    ORT_DISABLE_MEMORY_EFFICIENT_ATTENTION), it takes beginnings for masked keys. Returns how many were
    changed; where none was, heads may lie flat.
    """
    import onnx_ir as ir

    nodes = attentions(model)
    masks = {node.inputs[3] if len(node.inputs) == 4 else None for node in nodes}
    mask = next(iter(masks), None)
    given = next((value for value in model.graph.inputs if value.name == "attention_mask"), None)
    if len(masks) != 1 or mask is None or given is None or not is_key_mask(model, mask):
        return 0
    drop_unattended_rows(model)
    flatten_heads(model)
    if not all(map(_is_plain, nodes)):
        return 0
    lengths = _lengths(model.graph, given)
    for node in nodes:
        heads = node.attributes["q_num_heads"].as_int()
        attributes = {"num_heads": heads}
        if "scale" in node.attributes:
            attributes["scale"] = node.attributes["scale"].as_float()
        made = ir.node(
            "MultiHeadAttention",
            [*node.inputs[:BIAS], None, lengths],
            attributes=attributes,
            domain="com.microsoft",
            name=node.name,
        )
        ir.convenience.replace_nodes_and_values(model.graph, node, [node], [made], node.outputs, made.outputs)
    model.graph.opset_imports["com.microsoft"] = 1
    remove_unused(model)
    return len(nodes)


def _is_plain(node: ir.Node) -> bool:
    """Whether the provider computes it in tiles: in float16, a key for each query's head, nothing capped."""
    import onnx_ir as ir

    query, _, value = node.inputs[:BIAS]
    assert query is not None
    assert value is not None
    widths = [given.shape[-1] if given.shape is not None else None for given in (query, value)]
    heads = {node.attributes.get_int(name, 0) for name in ("q_num_heads", "kv_num_heads")}
    causal, cap = node.attributes.get_int("is_causal", 0), node.attributes.get_float("softcap", 0.0)
    if query.dtype != ir.DataType.FLOAT16 or len(heads) != 1 or 0 in heads:
        return False
    aligned = all(isinstance(width, int) and not width // max(heads) % 8 for width in widths)
    return aligned and not causal and not cap and len(node.outputs) == 1


def _lengths(graph: ir.Graph, mask: ir.Value) -> ir.Value:
    """Tokens of texts, then where these begin and the last ends, of queries and of keys: int32 [3 B + 2]."""
    import onnx_ir as ir

    tape = ir.tape.Tape()
    zero, one, ones = (
        add_initializer(graph, f"key_lengths.{name}", np.array(value))
        for name, value in (("zero", 0), ("one", 1), ("ones", [1]))
    )
    tokens = tape.op("ReduceSum", [mask, ones], attributes={"keepdims": 0})
    batch, length = (
        tape.op("Squeeze", [tape.op("Shape", [mask], attributes={"start": axis, "end": axis + 1})])
        for axis in (0, 1)
    )
    end = tape.op("Mul", [tape.op("Add", [batch, one]), length])
    begins = tape.op("Range", [zero, end, length])
    all_of_it = tape.op("Concat", [tokens, begins, begins], attributes={"axis": 0})
    found = tape.op("Cast", [all_of_it], attributes={"to": int(ir.DataType.INT32)})
    for number, node in enumerate(tape.nodes):
        node.name = f"key_lengths_{number}"
        node.outputs[0].name = f"key_lengths.{number}"
    graph.insert_before(next(iter(graph)), tape.nodes)
    return found
