"""Keeps the model builder's quantization to the memory of one matrix instead of the whole model."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx
    import onnx_ir


@contextlib.contextmanager
def quantize_node_by_node() -> Iterator[None]:
    """Within it the builder quantizes each matrix in a graph of its own.

    The builder copies all weights in float32 into one protocol buffer before it quantizes the first. Its own
    method is called here with a graph of one node at a time, so its choices and its results stay the same.
    """
    from onnxruntime_genai.models.builder import Model

    whole = Model.to_nbits

    def by_node(builder: Any) -> onnx_ir.Model:
        return _quantize(builder, whole)

    Model.to_nbits = by_node
    try:
        yield
    finally:
        Model.to_nbits = whole


def _quantize(builder: Any, whole: Any) -> onnx_ir.Model:
    import onnx_ir

    model: onnx_ir.Model = builder.model
    kinds = set(builder.quant_attrs["op_types_to_quantize"])
    nodes = [node for node in model.graph if node.op_type in kinds and _weights(node)]
    parts: list[onnx.GraphProto] = []
    for node in nodes:
        builder.model = onnx_ir.from_proto(_alone(node, model))
        parts.append(onnx_ir.to_proto(whole(builder)).graph)
    builder.model = model
    for node in nodes:
        for value in _weights(node):
            model.graph.initializers.pop(str(value.name), None)
        model.graph.remove(node)
    joined = onnx_ir.to_proto(model)
    for part in parts:
        joined.graph.node.extend(part.node)
        joined.graph.initializer.extend(part.initializer)
        part.Clear()
    if "com.microsoft" not in [opset.domain for opset in joined.opset_import]:
        joined.opset_import.add(domain="com.microsoft", version=1)
    return onnx_ir.from_proto(joined)


def _weights(node: onnx_ir.Node) -> list[onnx_ir.Value]:
    return [value for value in node.inputs if value is not None and value.const_value is not None]


def _alone(node: onnx_ir.Node, model: onnx_ir.Model) -> onnx.ModelProto:
    """A graph of one node with its weights, which are copied once: they may be the vocabulary's."""
    import onnx
    import onnx_ir

    proto = onnx.ModelProto(ir_version=model.ir_version)
    for domain, version in model.opset_imports.items():
        proto.opset_import.add(domain=domain, version=version)
    graph = proto.graph
    graph.name = "node"
    graph.node.add().CopyFrom(onnx_ir.to_proto(node))
    weights = _weights(node)
    for value in weights:
        tensor = graph.initializer.add()
        onnx_ir.serde.serialize_tensor_into(tensor, value.const_value)
        tensor.name = str(value.name)
    for value in node.inputs:
        if value is not None and value not in weights:
            graph.input.add().CopyFrom(onnx_ir.to_proto(value))
    for value in node.outputs:
        graph.output.add().CopyFrom(onnx_ir.to_proto(value))
    return proto
