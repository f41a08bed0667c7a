"""What each quantized layer of an ONNX graph costs, measured by switching them one at a time."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from modelwright.api.model import Model
from modelwright.api.runner import Inputs
from modelwright_plugins.format.onnx_graph import add_initializer
from modelwright_plugins.metric.parity import cosine_rows

if TYPE_CHECKING:
    import onnx_ir as ir

SWITCHES = "quantized_layers"


@dataclass(frozen=True)
class Layer:
    """A node with a quantized input and quantized weights, and the float values behind both.

    `label` is the checkpoint's name of the layer where its bias tells it.
    """

    node: ir.Node
    label: str
    activation: ir.Value
    weight: ir.Value


def quantized_layers(model: ir.Model, reference: ir.Model) -> list[Layer]:
    """The layers of a QDQ graph; `reference` is the float graph it was made from, for its weights."""
    weights = {node.name: node.inputs[1] for node in reference.graph if len(node.inputs) > 1}
    layers = []
    for node in model.graph:
        if node.op_type not in ("MatMul", "Gemm"):
            continue
        pair = [value.producer() if value is not None else None for value in node.inputs[:2]]
        if any(producer is None or producer.op_type != "DequantizeLinear" for producer in pair):
            continue
        quantize = pair[0].inputs[0].producer()  # type: ignore[union-attr]
        weight = weights[node.name]
        if quantize is not None and weight is not None and weight.const_value is not None:
            layers.append(Layer(node, _label(node), quantize.inputs[0], weight))
    return layers


def restore(model: ir.Model, layers: Sequence[Layer]) -> None:
    """Put layers of a QDQ graph back to float."""
    from onnx_ir.passes.common import RemoveUnusedNodesPass

    for layer in layers:
        layer.node.replace_input_with(0, layer.activation)
        layer.node.replace_input_with(1, _float_weight(model.graph, layer))
    RemoveUnusedNodesPass()(model)


class Switchboard:
    """A QDQ graph in which every layer can be put back to float for a run.

    >>> board = Switchboard(quantized, reference, model, inputs)
    >>> board.similarity(off={"node_MatMul_68"})   # mean cosine with the float graph

    All layers are in one session: an input says which are quantized, and a `Where` at each chooses.
    """

    def __init__(self, quantized: ir.Model, reference: ir.Model, model: Model, inputs: Inputs) -> None:
        import onnxruntime as ort

        from modelwright_plugins.format.onnx import GRAPH_FILE
        from modelwright_plugins.format.onnx_graph import save_graph

        self._spec, self._inputs = model.spec, inputs
        graph = quantized.clone()
        layers = quantized_layers(graph, reference)
        self.names = [str(layer.node.name) for layer in layers]
        _add_switches(graph, layers)
        with tempfile.TemporaryDirectory() as folder:
            save_graph(graph, Path(folder))
            options = ort.SessionOptions()
            options.log_severity_level = 3
            self._session = ort.InferenceSession(
                str(Path(folder) / GRAPH_FILE), options, providers=["CPUExecutionProvider"]
            )
        self._fed = [item.name for item in self._session.get_inputs() if item.name != SWITCHES]
        self._float = self._run(np.zeros(len(self.names), bool))

    def similarity(self, *, on: Collection[str] | None = None, off: Collection[str] = ()) -> float:
        """Mean cosine with all layers in float, when those `on` (default all) but not `off` are quantized."""
        chosen = [(on is None or name in on) and name not in off for name in self.names]
        return float(cosine_rows(self._float, self._run(np.array(chosen))).mean())

    def _run(self, switches: np.ndarray) -> np.ndarray:
        from modelwright_plugins.text.pooling import pool

        feed = {name: self._inputs[name] for name in self._fed}
        output = self._session.run(None, feed | {SWITCHES: switches})[0]
        if self._spec.task == "embed":
            mask = self._inputs["attention_mask"]
            return pool(output, mask, self._spec.pooling, self._spec.normalize)
        return np.asarray(output)


def _add_switches(graph: ir.Model, layers: Sequence[Layer]) -> None:
    import onnx_ir as ir

    switches = ir.Value(name=SWITCHES, shape=ir.Shape([len(layers)]), type=ir.TensorType(ir.DataType.BOOL))
    graph.graph.inputs.append(switches)
    for number, layer in enumerate(layers):
        tape = ir.tape.Tape()
        index = add_initializer(graph.graph, f"switch_{number}", np.array(number))
        chosen = tape.op("Gather", [switches, index])
        floats = (layer.activation, _float_weight(graph.graph, layer))
        for position, value in enumerate(floats):
            layer.node.replace_input_with(
                position, tape.op("Where", [chosen, layer.node.inputs[position], value])
            )
        graph.graph.insert_before(layer.node, tape.nodes)


def _float_weight(graph: ir.Graph, layer: Layer) -> ir.Value:
    name, tensor = f"{layer.weight.name}_float", layer.weight.const_value
    assert tensor is not None
    return graph.initializers.get(name) or add_initializer(graph, name, tensor)


def _label(node: ir.Node) -> str:
    for user in [node, *(user for user, _ in node.outputs[0].uses())]:
        for value in user.inputs:
            if value is not None and str(value.name).endswith(".bias"):
                return str(value.name).removesuffix(".bias")
    return str(node.name)
