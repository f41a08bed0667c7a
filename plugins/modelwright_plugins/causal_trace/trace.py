"""Trace one step of a causal language model into an ONNX graph."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from modelwright_plugins.causal_trace.anatomy import CausalAnatomy
from modelwright_plugins.causal_trace.attention import Current, whole_attention
from modelwright_plugins.causal_trace.layout import cancel_layout, join_residual_norms
from modelwright_plugins.causal_trace.names import name_step, name_weights
from modelwright_plugins.causal_trace.norm import whole_norms
from modelwright_plugins.causal_trace.rotary import whole_rotary
from modelwright_plugins.causal_trace.step import sample_step, step_module

if TYPE_CHECKING:
    import onnx_ir
    from transformers import PreTrainedModel

# Elements from which a constant counts as a weight.
LARGE = 4096


def trace_step(model: PreTrainedModel, anatomy: CausalAnatomy, opset: int) -> onnx_ir.Model:
    """The graph of one step, prefill or decode, as the exporter of transformers makes it.

    One trace serves both: the lengths of the step and of the past are dynamic, and the past may be empty.
    Parts that have an operator of their own are traced as that operator, so that nothing has to be found and
    fused afterwards; what is left costs time in proportion to the layers.
    """
    from onnxscript import optimizer
    from transformers.exporters import OnnxConfig, OnnxExporter

    current = Current()
    inputs, dynamic = sample_step(anatomy, model.dtype)
    with ExitStack() as stack:
        stack.enter_context(whole_attention(model, anatomy.operator, current, eager=anatomy.eager))
        if opset >= 23:
            stack.enter_context(whole_norms(model, anatomy.norms))
            stack.enter_context(whole_rotary(anatomy.rotary))
        exported = OnnxExporter().export(
            step_module(model, anatomy, current),
            inputs,
            config=OnnxConfig(opset_version=opset, dynamic_shapes=dynamic, optimize=False),
        )
    graph: onnx_ir.Model = exported.program
    name_weights(graph, "model.")
    # After the weights have their place: the optimizer would transpose and copy them one by one.
    optimizer.optimize_ir(graph, should_fold=_small)
    cancel_layout(graph)
    if anatomy.operator == "gqa":
        join_residual_norms(graph)
    name_step(graph)
    return graph


def _small(node: onnx_ir.Node) -> bool | None:
    """Whether to compute a node of constants now: never one of a weight, else as the optimizer likes."""
    constants = [value.const_value for value in node.inputs if value is not None]
    return False if any(tensor is not None and tensor.size > LARGE for tensor in constants) else None
