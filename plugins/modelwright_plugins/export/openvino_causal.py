"""Tracing a causal language model for OpenVINO: one stateful graph for prompts and new tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelwright.errors import StageError
from modelwright_plugins.export.cached_inputs import cached_inputs

if TYPE_CHECKING:
    import openvino
    from transformers import PreTrainedModel


def trace_causal(model: PreTrainedModel) -> openvino.Model:
    """The graph with its KV cache folded into variables; inputs of any batch, length and past.

    Raises StageError when a layer's cache did not become state, without which every token would be alone.
    """
    from transformers.exporters import OpenVINOConfig, OpenVINOExporter

    inputs = cached_inputs(model)
    graph = OpenVINOExporter().export(model, inputs, config=OpenVINOConfig(dynamic=True)).program
    layers = len(inputs["past_key_values"].layers)
    if len(graph.get_sinks()) < 2 * layers:
        raise StageError(
            f"The exported graph keeps {len(graph.get_sinks())} of {2 * layers} keys and values.",
            where=type(model).__name__,
            accepted="an architecture whose layers cache keys and values",
            hint="export.onnx passes the cache as inputs and outputs",
        )
    return graph
