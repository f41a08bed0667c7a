"""The layers of an ONNX graph: products with a constant matrix, and tables that tokens look rows up in."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from modelwright.errors import StageError
from modelwright_plugins.format.onnx_graph import tensor_values
from modelwright_plugins.weight_only.blocks import Reals

if TYPE_CHECKING:
    import onnx_ir as ir

QUANTIZED = ("MatMulNBits", "MatMulBnb4", "GatherBlockQuantized", "MatMulInteger", "DynamicQuantizeMatMul")
# What may stand between the tokens and the lookup of their rows.
PASSING = ("Cast", "Identity", "Where", "Reshape", "Unsqueeze", "Squeeze", "Clip")


@dataclass
class Layer:
    """A constant matrix and the nodes that multiply by it: MatMul, or Gemm of plain factors.

    `transposed` says that the initializer holds [outputs, inputs]. `head` marks the layer that gives the
    logits; `lookups` are the Gather nodes that read rows of the same matrix (tied embeddings).
    """

    weight: ir.Value
    transposed: bool
    nodes: list[ir.Node]
    head: bool = False
    lookups: list[ir.Node] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The first node's name."""
        return str(self.nodes[0].name)

    @property
    def inputs(self) -> int:
        """Width of what comes in."""
        return self._shape[1 if self.transposed else 0]

    @property
    def outputs(self) -> int:
        """Width of what goes out."""
        return self._shape[0 if self.transposed else 1]

    @property
    def size(self) -> int:
        """Number of weights."""
        return self.inputs * self.outputs

    @property
    def dtype(self) -> np.dtype[np.floating]:
        """That of the weights, and of the activations with them."""
        return _tensor(self.weight).dtype.numpy()

    @property
    def activation(self) -> str:
        """Name of the value that the first node multiplies."""
        value = self.nodes[0].inputs[0]
        assert value is not None
        return str(value.name)

    def matrix(self) -> Reals:
        """The weights, float32 [inputs, outputs]."""
        values = tensor_values(self.weight)
        return np.asarray(values.T if self.transposed else values, dtype=np.float32)

    @property
    def _shape(self) -> tuple[int, ...]:
        return tuple(int(size) for size in _tensor(self.weight).shape)


@dataclass
class Table:
    """A constant matrix [rows, width] that Gather nodes look up by token; `transposed`: [width, rows]."""

    weight: ir.Value
    transposed: bool
    nodes: list[ir.Node]

    def matrix(self) -> Reals:
        """The rows as the columns of a layer's matrix: float32 [width, rows]."""
        values = tensor_values(self.weight)
        return np.asarray(values if self.transposed else values.T, dtype=np.float32)

    @property
    def dtype(self) -> np.dtype[np.floating]:
        """That of the rows."""
        return _tensor(self.weight).dtype.numpy()

    @property
    def nbytes(self) -> int:
        """Bytes it takes as it is."""
        return _tensor(self.weight).nbytes


def require_unquantized(model: ir.Model, where: str) -> None:
    """Raise StageError when a graph has quantized operators already."""
    found = sorted({node.op_type for node in model.graph if node.op_type in QUANTIZED})
    if found:
        raise StageError(
            f"The graph is quantized already: it has {', '.join(found)}.",
            where=where,
            accepted="a graph with weights in floating point",
        )


def name_nodes(model: ir.Model) -> None:
    """Give nodes without a name one, so that patterns and tables can speak of them."""
    for number, node in enumerate(model.graph):
        node.name = node.name or f"{node.op_type}_{number}"


def layers_of(model: ir.Model, names: Collection[str]) -> list[Layer]:
    """The layers whose node is among `names`, in the order of the graph; a shared matrix is one layer."""
    tables = {str(table.weight.name): table for table in tables_of(model)}
    head = _head(model)
    found: dict[tuple[str, bool], Layer] = {}
    for node in model.graph:
        factor = _constant_factor(node)
        if factor is None or node.name not in names:
            continue
        weight, transposed = factor
        layer = found.setdefault((str(weight.name), transposed), Layer(weight, transposed, []))
        layer.nodes.append(node)
        layer.head = layer.head or node is head
        table = tables.get(str(weight.name))
        # A table's rows are the outputs of a layer tied to it.
        if table is not None and table.transposed != transposed:
            layer.lookups = table.nodes
    return list(found.values())


def tables_of(model: ir.Model) -> list[Table]:
    """The tables that rows are looked up in by `input_ids`."""
    found: dict[str, Table] = {}
    for node in model.graph:
        if (
            node.op_type != "Gather"
            or node.attributes.get_int("axis", 0) != 0
            or not _by_token(node.inputs[1])
        ):
            continue
        factor = _constant(node.inputs[0])
        if factor is not None:
            weight, transposed = factor
            found.setdefault(str(weight.name), Table(weight, transposed, [])).nodes.append(node)
    return list(found.values())


def _constant_factor(node: ir.Node) -> tuple[ir.Value, bool] | None:
    """The constant second factor of a MatMul or Gemm, and whether it is held as [outputs, inputs]."""
    if node.domain not in ("", "ai.onnx") or node.op_type not in ("MatMul", "Gemm"):
        return None
    factor = _constant(node.inputs[1])
    if factor is None or node.op_type == "MatMul":
        return factor
    get = node.attributes.get_float
    if node.attributes.get_int("transA", 0) or get("alpha", 1.0) != 1 or get("beta", 1.0) != 1:
        return None
    return factor[0], factor[1] != bool(node.attributes.get_int("transB", 0))


def _constant(value: ir.Value | None) -> tuple[ir.Value, bool] | None:
    """A float matrix in the graph, through a Transpose if there is one."""
    import onnx_ir as ir

    if value is None:
        return None
    producer = value.producer()
    if producer is not None and producer.op_type == "Transpose" and producer.inputs[0] is not None:
        inner = _constant(producer.inputs[0])
        return None if inner is None else (inner[0], not inner[1])
    tensor = value.const_value if value.is_initializer() else None
    floats = (ir.DataType.FLOAT, ir.DataType.FLOAT16)
    return (
        (value, False) if tensor is not None and tensor.dtype in floats and len(tensor.shape) == 2 else None
    )


def _head(model: ir.Model) -> ir.Node | None:
    """The MatMul or Gemm that gives the logits, perhaps through element-wise operators."""
    for output in model.graph.outputs:
        node = output.producer() if output.name == "logits" else None
        while node is not None and node.op_type in (
            "Add",
            "Cast",
            "Mul",
            "Div",
            "Tanh",
            "Identity",
            "Reshape",
        ):
            node = next((found for value in node.inputs if value and (found := value.producer())), None)
        if node is not None and _constant_factor(node) is not None:
            return node
    return None


def _by_token(value: ir.Value | None) -> bool:
    if value is None:
        return False
    producer = value.producer()
    if producer is None:
        return value.name == "input_ids"
    return producer.op_type in PASSING and any(_by_token(source) for source in producer.inputs)


def _tensor(value: ir.Value) -> ir.TensorProtocol:
    assert value.const_value is not None
    return value.const_value
