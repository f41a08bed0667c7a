"""Runs a text encoder in OpenVINO. Imports neither torch nor transformers."""

from __future__ import annotations

from collections import Counter

import numpy as np

from modelwright.api.model import Model
from modelwright.api.runner import Floats, Inputs
from modelwright.api.target import Target
from modelwright.errors import MissingError, StageError
from modelwright_plugins.format.openvino_ir import GRAPH_FILE
from modelwright_plugins.format.openvino_offline import import_openvino
from modelwright_plugins.text.outputs import OUTPUTS
from modelwright_plugins.text.runner import TextRunner

# Layers of the compiled graph that hold the arithmetic worth naming; fused attention is a Subgraph.
HEAVY_LAYERS = ("FullyConnected", "MatMul", "ScaledDotProductAttention", "Subgraph")


class OpenVINORunner(TextRunner):
    """One infer request on the CPU plugin, compiled for latency with the target's threads.

    `spec.details["inference_precision"]` (`f32`, `bf16`, `f16`) fixes the precision of float layers; without
    it the plugin chooses, and takes bf16 where the CPU has the instructions. Not thread-safe: the request's
    buffers are reused.
    """

    def __init__(self, model: Model, target: Target) -> None:
        if target.device != "cpu":
            raise MissingError(
                f"OpenVINO serves the CPU here, not '{target.device}'.",
                where="target.device",
                accepted="cpu",
                hint="choose target=cpu, or a recipe whose format runs on CUDA (onnx, torch)",
            )
        openvino = import_openvino()
        super().__init__(model)
        options: dict[str, str | int] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": target.thread_count,
        }
        precision = model.spec.details.get("inference_precision")
        if precision:
            options["INFERENCE_PRECISION_HINT"] = str(precision)
        self._compiled = openvino.Core().compile_model(str(model.path / GRAPH_FILE), "CPU", options)
        outputs = {name: i for i, port in enumerate(self._compiled.outputs) for name in port.names}
        wanted = OUTPUTS[model.spec.task]
        if wanted not in outputs:
            raise StageError(
                f"The graph has no output '{wanted}'.", where=str(model.path), accepted=", ".join(outputs)
            )
        self._inputs = [port.any_name for port in self._compiled.inputs]
        self._output = outputs[wanted]
        self._request = self._compiled.create_infer_request()
        # Pooling that averages or takes maxima makes a new array; anything else would alias the buffer.
        self._copies = model.spec.task != "embed" or model.spec.pooling == "cls"

    def forward(self, inputs: Inputs) -> Floats:
        """Last hidden state [batch, length, dim], or logits [batch, labels].

        Token vectors are a view of the request's buffer and hold until the next call.
        """
        fed = {name: inputs[name] for name in self._inputs}
        results = self._request.infer(fed, share_inputs=True, share_outputs=True)
        output: Floats = np.asarray(results[self._output], dtype=np.float32)
        return output.copy() if self._copies else output

    def describe(self) -> dict[str, str]:
        """Runtime, device, threads, and the precision the compiled layers really have."""
        openvino = import_openvino()
        return {
            "runtime": f"OpenVINO {openvino.__version__}",
            "device": ", ".join(self._compiled.get_property("EXECUTION_DEVICES")),
            "threads": str(self._compiled.get_property("INFERENCE_NUM_THREADS")),
            "precision": self._compiled.get_property("INFERENCE_PRECISION_HINT").to_string(),
            "layers": self._layers(),
        }

    def _layers(self) -> str:
        counts: Counter[str] = Counter()
        for node in self._compiled.get_runtime_model().get_ordered_ops():
            info = node.get_rt_info()
            kind = str(info["layerType"].astype(str)) if "layerType" in info else ""
            if kind in HEAVY_LAYERS:
                counts[f"{kind} {info['runtimePrecision'].astype(str)}"] += 1
        return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
