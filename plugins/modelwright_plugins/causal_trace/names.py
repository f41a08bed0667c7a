"""Names in a traced graph: weights and layers after the checkpoint's, dimensions after what they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import onnx_ir

DIMENSIONS = {
    "input_ids": ("batch", "length"),
    "attention_mask": ("batch", "total"),
    "position_ids": ("batch", "length"),
    "past_key_values": ("batch", None, "past", None),
    "present": ("batch", None, "total", None),
    "logits": ("batch", "length", None),
}


def name_weights(model: onnx_ir.Model, prefix: str) -> None:
    """Name weights as the checkpoint does, less `prefix`, and store those that are only read transposed so.

    A weight that is also read as it is, as a tied embedding, stays one tensor with a Transpose after it.
    """
    import onnx_ir
    from onnx_ir.passes.common import RemoveUnusedNodesPass

    graph = model.graph
    for value in list(graph.initializers.values()):
        name = str(value.name).removeprefix(prefix)
        users = [node for node, _ in value.uses()]
        tensor = value.const_value
        assert tensor is not None
        if users and len(tensor.shape) == 2 and all(node.op_type == "Transpose" for node in users):
            turned = onnx_ir.Value(
                name=name,
                type=value.type,
                shape=onnx_ir.Shape(list(reversed(tensor.shape.numpy()))),
                const_value=_transposed(tensor, name),
            )
            for node in users:
                onnx_ir.convenience.replace_all_uses_with(node.outputs[0], turned)
                graph.remove(node, safe=True)
            del graph.initializers[str(value.name)]
            graph.register_initializer(turned)
        elif name != value.name:
            value.name = name
    RemoveUnusedNodesPass()(model)


def name_step(model: onnx_ir.Model) -> None:
    """Name dimensions of inputs and outputs wherever they occur, and products after their layer."""
    import onnx_ir

    graph = model.graph
    names: dict[str, str] = {}
    for value in (*graph.inputs, *graph.outputs):
        wanted = DIMENSIONS[str(value.name).partition(".")[0]]
        for dimension, name in zip(value.shape or (), wanted, strict=True):
            if name and isinstance(dimension, onnx_ir.SymbolicDim) and dimension.value:
                names.setdefault(dimension.value, name)
    # Graph outputs are among them.
    for value in [*graph.inputs, *(output for node in graph for output in node.outputs)]:
        if value.shape is not None:
            value.shape = onnx_ir.Shape([_renamed(dimension, names) for dimension in value.shape])
    for node in graph:
        if node.op_type in ("MatMul", "Gemm") and (weight := _weight(node)) is not None:
            node.name = f"{weight.removesuffix('.weight')}/{node.op_type}"


def _renamed(dimension: int | onnx_ir.SymbolicDim, names: dict[str, str]) -> int | onnx_ir.SymbolicDim:
    import onnx_ir

    if isinstance(dimension, int) or dimension.value is None:
        return dimension
    # What a sum or product of dimensions is called means nothing to the reader, and differs between versions.
    return onnx_ir.SymbolicDim(names.get(dimension.value))


def _weight(node: onnx_ir.Node) -> str | None:
    """The weight a product reads, if need be through a Transpose."""
    value = node.inputs[1]
    producer = value.producer() if value is not None else None
    if producer is not None and producer.op_type == "Transpose":
        value = producer.inputs[0]
    if value is None or not value.is_initializer() or not str(value.name).endswith(".weight"):
        return None
    return str(value.name)


def _transposed(tensor: onnx_ir.TensorProtocol, name: str) -> onnx_ir.LazyTensor:
    """The transpose, made when it is written, so that no second copy of the weights is held."""
    import onnx_ir

    def turn() -> onnx_ir.Tensor:
        array: np.ndarray = tensor.numpy().T.copy()
        return onnx_ir.Tensor(array, dtype=tensor.dtype)

    shape = onnx_ir.Shape(list(reversed(tensor.shape.numpy())))
    return onnx_ir.LazyTensor(turn, dtype=tensor.dtype, shape=shape, name=name)
