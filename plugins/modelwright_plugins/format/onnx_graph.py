"""Reading and writing ONNX graphs so that equal models are equal bytes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from modelwright_plugins.format.onnx import GRAPH_FILE

if TYPE_CHECKING:
    import onnx_ir

# A graph is held twice more while it is serialized with its weights; larger ones go to a file beside it,
# through one buffer. Protocol buffers end at 2 GiB.
INLINE_LIMIT = 256 * 2**20


def load_graph(folder: Path, file: str = GRAPH_FILE, *, weights: bool = True) -> onnx_ir.Model:
    """The graph of a model folder, or another file in it.

    With `weights=False`, those beside the graph stay in their file until `tensor_values` reads one.
    """
    import onnx_ir

    model = onnx_ir.load(str(folder / file))
    if weights:
        onnx_ir.external_data.load_to_model(model)
    return model


def tensor_values(value: onnx_ir.Value) -> np.ndarray:
    """A constant's values. Those of a file are copied: as many of its pages as were mapped would stay."""
    import onnx_ir

    tensor = value.const_value
    assert tensor is not None, "only constants have values"
    if not isinstance(tensor, onnx_ir.ExternalTensor):
        return tensor.numpy()
    values = tensor.numpy().copy()
    tensor.release()
    return values


def add_initializer(
    graph: onnx_ir.Graph, name: str, values: np.ndarray | onnx_ir.TensorProtocol
) -> onnx_ir.Value:
    """Add a constant to a graph; the value that nodes read. Raises ValueError when the name is taken."""
    import onnx_ir

    tensor = onnx_ir.tensor(values, name=name) if isinstance(values, np.ndarray) else values
    value = onnx_ir.Value(
        name=name, const_value=tensor, shape=tensor.shape, type=onnx_ir.TensorType(tensor.dtype)
    )
    graph.register_initializer(value)
    return value


def save_graph(model: onnx_ir.Model, folder: Path) -> None:
    """Write `model.onnx`, with at most `INLINE_LIMIT` bytes of weights inside, else in `model.onnx.data`."""
    import onnx_ir

    strip_metadata(model)
    weights = sum(
        value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value
    )
    external = f"{GRAPH_FILE}.data" if weights > INLINE_LIMIT else None
    if external is None:
        onnx_ir.external_data.load_to_model(model)
    onnx_ir.save(model, str(folder / GRAPH_FILE), external_data=external)


def remove_unused(model: onnx_ir.Model) -> None:
    """Remove nodes and constants that nothing reads."""
    from onnx_ir.passes.common import RemoveUnusedNodesPass

    RemoveUnusedNodesPass()(model)


def strip_metadata(model: onnx_ir.Model) -> None:
    """Remove what the exporter notes about itself: stack traces, paths of this installation, versions."""
    model.metadata_props.clear()
    model.doc_string = None
    for graph in model.graphs():
        graph.metadata_props.clear()
        graph.doc_string = None
        for value in [*graph.inputs, *graph.outputs, *graph.initializers.values()]:
            value.metadata_props.clear()
            value.doc_string = None
        for node in graph:
            node.metadata_props.clear()
            node.doc_string = None
            for value in node.outputs:
                value.metadata_props.clear()
                value.doc_string = None
    for function in model.functions.values():
        function.metadata_props.clear()
        function.doc_string = None


def keep_output(model: onnx_ir.Model, name: str) -> None:
    """Remove every other output, and what only they needed."""
    from onnx_ir.passes.common import RemoveUnusedNodesPass

    outputs = [value for value in model.graph.outputs if value.name == name]
    model.graph.outputs.clear()
    model.graph.outputs.extend(outputs)
    RemoveUnusedNodesPass()(model)


def name_dimensions(model: onnx_ir.Model) -> None:
    """Call the first two dimensions of every input `batch` and `length`, and the output's alike."""
    import onnx_ir

    for value in [*model.graph.inputs, *model.graph.outputs]:
        if value.shape is None:
            continue
        dimensions = list(value.shape)
        for axis, name in enumerate(("batch", "length")[: len(dimensions)]):
            if not isinstance(dimensions[axis], int):
                dimensions[axis] = onnx_ir.SymbolicDim(name)
        value.shape = onnx_ir.Shape(dimensions)
