"""Runs a text encoder in OpenVINO. Imports neither torch nor transformers."""

from __future__ import annotations

import numpy as np

from modelwright.api.model import Model
from modelwright.api.runner import Floats, Inputs
from modelwright.api.target import Target
from modelwright_plugins.format.openvino_compile import compile_graph, describe_compiled
from modelwright_plugins.text.runner import TextRunner


class OpenVINORunner(TextRunner):
    """One infer request on the CPU plugin, compiled for latency with the target's threads.

    `spec.details["inference_precision"]` (`f32`, `bf16`, `f16`) fixes the precision of float layers; without
    it the plugin chooses, and takes bf16 where the CPU has the instructions. Not thread-safe: the request's
    buffers are reused.
    """

    def __init__(self, model: Model, target: Target) -> None:
        self._compiled, self._output = compile_graph(model, target)
        super().__init__(model)
        self._inputs = [port.any_name for port in self._compiled.inputs]
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
        return describe_compiled(self._compiled)
