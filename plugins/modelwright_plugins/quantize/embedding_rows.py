"""Embedding tables in int8 with a scale for each row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from modelwright_plugins.format.onnx_graph import add_initializer

if TYPE_CHECKING:
    import onnx_ir as ir

LARGEST = 127


def quantize_embeddings(model: ir.Model, kept: frozenset[str] = frozenset()) -> int:
    """Store every float table that a `Gather` reads rows of in int8; how many were.

    The rows are looked up first and scaled after, `Mul(Cast(Gather(table)), Gather(scales))`, so that only
    those of the text are ever in float. One scale per row, symmetric around 0, costs four bytes a row and
    is about ten times as exact as one scale for the table, whose rarest tokens stretch it. Nodes named in
    `kept` stay in float.
    """
    import onnx_ir as ir

    tables: dict[str, tuple[ir.Value, ir.Value]] = {}
    done = 0
    for node in list(model.graph):
        if node.op_type != "Gather" or node.name in kept or not _reads_float_rows(node):
            continue
        table, rows = node.inputs
        assert table is not None
        assert table.dtype is not None
        name = str(table.name)
        if name not in tables:
            tables[name] = _quantized(model.graph, table)
        tape = ir.tape.Tape()
        codes, scales = (tape.op("Gather", [part, rows]) for part in tables[name])
        floats = tape.op("Cast", [codes], attributes={"to": int(table.dtype)})
        result = tape.op("Mul", [floats, scales])
        for number, part in enumerate(tape.nodes):
            part.name = f"{node.name}_int8_{number}"
            part.outputs[0].name = f"{node.outputs[0].name}_int8_{number}"
        result.shape, result.dtype = node.outputs[0].shape, table.dtype
        model.graph.insert_before(node, tape.nodes)
        node.outputs[0].replace_all_uses_with(result, replace_graph_outputs=True)
        model.graph.remove(node, safe=True)
        done += 1
    for name in tables:
        if not model.graph.initializers[name].uses():
            del model.graph.initializers[name]
    return done


def _reads_float_rows(node: ir.Node) -> bool:
    import onnx_ir as ir

    table = node.inputs[0]
    tensor = table.const_value if table is not None and table.is_initializer() else None
    axis = node.attributes.get_int("axis", 0)
    floats = (ir.DataType.FLOAT, ir.DataType.FLOAT16)
    return tensor is not None and tensor.dtype in floats and len(tensor.shape) == 2 and axis == 0


def _quantized(graph: ir.Graph, table: ir.Value) -> tuple[ir.Value, ir.Value]:
    """A table's codes [rows, width] in int8 and scales [rows, 1], as initializers."""
    assert table.const_value is not None
    weights = table.const_value.numpy()
    # Scales as the graph holds them: half precision rounds them, and codes are to fit what is left.
    scales = (np.abs(weights).max(axis=1, keepdims=True) / np.float32(LARGEST)).astype(weights.dtype)
    steps = np.where(scales == 0, 1, scales).astype(np.float32)
    codes = np.clip(np.rint(weights / steps), -LARGEST, LARGEST).astype(np.int8)
    return (
        add_initializer(graph, f"{table.name}_int8", codes),
        add_initializer(graph, f"{table.name}_scale", scales),
    )
