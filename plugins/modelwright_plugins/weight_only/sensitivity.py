"""What quantizing each layer alone does to a model's outputs, measured in ONNX Runtime."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from modelwright.api.model import ModelSpec
from modelwright_plugins.metric.parity import cosine_rows, kl_rows
from modelwright_plugins.weight_only.blocks import Reals
from modelwright_plugins.weight_only.calibration import Feed
from modelwright_plugins.weight_only.layers import Layer

if TYPE_CHECKING:
    import onnx_ir as ir


class WeightSwitch:
    """A graph that is given the matrices of its layers with every run, so that any can be replaced.

    >>> switch = WeightSwitch(graph, layers, spec, feeds, threads=2)
    >>> switch.sensitivity({"node_MatMul_68": quantized.dequantize().T})

    One session serves all layers, and no weight is held twice but those the graph holds transposed.
    """

    def __init__(
        self, graph: ir.Model, layers: Sequence[Layer], spec: ModelSpec, feeds: Sequence[Feed], threads: int
    ) -> None:
        import onnxruntime as ort

        from modelwright_plugins.format.onnx import GRAPH_FILE
        from modelwright_plugins.format.onnx_graph import save_graph

        self._spec, self._feeds = spec, feeds
        self._weights = {
            layer.name: np.ascontiguousarray(layer.matrix().astype(layer.dtype, copy=False))
            for layer in layers
        }
        clone = graph.clone()
        _open_weights(clone, layers)
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads
        with tempfile.TemporaryDirectory() as folder:
            save_graph(clone, Path(folder))
            self._session = ort.InferenceSession(
                str(Path(folder) / GRAPH_FILE), options, providers=["CPUExecutionProvider"]
            )
        outputs = [item.name for item in self._session.get_outputs()]
        self._output = "logits" if "logits" in outputs else outputs[0]
        self._float = [self._run(feed, {}) for feed in feeds]

    def sensitivity(self, replaced: Mapping[str, Reals]) -> float:
        """How far the outputs move when the named layers have other matrices, [inputs, outputs].

        Mean Kullback-Leibler divergence in nats of the next token's (or the label's) distribution; for
        embeddings, 1 minus the mean cosine.
        """
        return float(
            np.mean([
                self._distance(expected, self._run(feed, replaced))
                for feed, expected in zip(self._feeds, self._float, strict=True)
            ])
        )  # fmt: skip

    def _distance(self, expected: np.ndarray, found: np.ndarray) -> float:
        if self._spec.task == "embed":
            return float(1 - cosine_rows(expected, found).mean())
        width = expected.shape[-1]
        return float(kl_rows(expected.reshape(-1, width), found.reshape(-1, width)).mean())

    def _run(self, feed: Feed, replaced: Mapping[str, Reals]) -> np.ndarray:
        from modelwright_plugins.text.pooling import pool

        weights = dict(self._weights)
        for name, matrix in replaced.items():
            weights[name] = np.ascontiguousarray(matrix, dtype=weights[name].dtype)
        output = self._session.run([self._output], {**feed, **{_input(n): w for n, w in weights.items()}})[0]
        if self._spec.task == "embed":
            return pool(output, feed["attention_mask"], self._spec.pooling, self._spec.normalize)
        return np.asarray(output, dtype=np.float32)


def _open_weights(graph: ir.Model, layers: Sequence[Layer]) -> None:
    """Make the layers' matrices inputs [inputs, outputs] of a graph."""
    import onnx_ir as ir
    from onnx_ir.passes.common import RemoveUnusedNodesPass

    nodes = {node.name: node for node in graph.graph}
    for layer in layers:
        dtype = ir.DataType.from_numpy(layer.dtype)
        shape = ir.Shape([layer.inputs, layer.outputs])
        value = ir.Value(name=_input(layer.name), shape=shape, type=ir.TensorType(dtype))
        graph.graph.inputs.append(value)
        for found in layer.nodes:
            node = nodes[found.name]
            node.replace_input_with(1, value)
            if node.op_type == "Gemm":
                node.attributes.add(ir.AttrInt64("transB", 0))
    RemoveUnusedNodesPass()(graph)


def _input(layer: str) -> str:
    return f"weight of {layer}"
