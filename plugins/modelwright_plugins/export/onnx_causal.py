"""Export of a causal language model: one graph for prefill and decode, with a KV cache in and out."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from modelwright.api.context import StageContext
from modelwright.api.model import Model, ModelSize
from modelwright.api.stage import MIB, Footprint
from modelwright.errors import StageError
from modelwright_plugins.format.onnx_graph import INLINE_LIMIT

if TYPE_CHECKING:
    import onnx_ir

    from modelwright_plugins.causal_trace.anatomy import CausalAnatomy

FUSED = ("GroupQueryAttention", "Attention", "MultiHeadAttention")


def trace_causal(
    model: Model,
    ctx: StageContext,
    *,
    opset: int,
    attention: Literal["gqa", "attention"],
    require_fused: bool | None,
) -> None:
    """Trace a checkpoint into `ctx.out` and record what was fused.

    The graph takes `input_ids` [batch, length], `attention_mask` [batch, total], `position_ids` [batch,
    length] where the model has them, and `past_key_values.N.key` and `.value` [batch, heads, past, width]; it
    gives `logits` [batch, length, vocabulary] and `present.N.key` and `.value` [batch, heads, total, width].
    A checkpoint in bfloat16, which ONNX Runtime computes on few devices, is exported in float32.

    Raises StageError for a model without such a cache, and where attention had to be fused and is not.
    """
    from modelwright_plugins.causal_trace.anatomy import examine
    from modelwright_plugins.causal_trace.logits import limit_logits
    from modelwright_plugins.causal_trace.trace import trace_step
    from modelwright_plugins.format.onnx_graph import save_graph
    from modelwright_plugins.format.torch import load_checkpoint
    from modelwright_plugins.format.widen import is_narrow, widen

    dtype = "float32" if model.spec.dtype == "bfloat16" else model.spec.dtype
    _require_fixed_angles(model.path / "config.json")
    read = model.path
    if dtype == "float32" and is_narrow(model.path):
        read = ctx.scratch("float32")
        widen(model.path, read)
    checkpoint = load_checkpoint(model, dtype, read_from=read)
    ctx.progress(1, 4, "looking at the layers")
    anatomy = examine(checkpoint, attention)
    if anatomy.reason:
        ctx.log.info("Attention is '%s': %s.", anatomy.operator, anatomy.reason)
    ctx.progress(2, 4, "tracing")
    try:
        graph = trace_step(checkpoint, anatomy, opset)
    except RuntimeError as error:  # what torch.export and torch.onnx raise
        ctx.log.error("Tracing failed.", exc_info=error)
        raise StageError(
            f"{model.spec.architecture} can't be traced: {_first_cause(error)}",
            where=model.spec.architecture,
            hint="the step's log has the whole message",
        ) from error
    _check_contract(graph, anatomy, model.spec.architecture)
    operators = Counter(node.op_type for node in graph.graph)
    fused = sum(operators[name] for name in FUSED)
    required = bool(anatomy.rotary) or anatomy.grouped if require_fused is None else require_fused
    if required and fused < len(anatomy.layers):
        raise StageError(
            f"Attention is one operator in {fused} of {len(anatomy.layers)} layers: "
            f"{anatomy.reason or 'the exporter did not recognise it'}.",
            where=f"{ctx.where('require_fused')}, {model.spec.architecture}",
            accepted=f"{len(anatomy.layers)} of {', '.join(FUSED)}",
            hint="set require_fused=false to take attention written out as MatMul and Softmax",
        )
    limited = limit_logits(graph)
    ctx.record(
        "attention",
        {
            "operator": anatomy.operator,
            "reason": anatomy.reason,
            "layers": len(anatomy.layers),
            "fused": {name: count for name, count in sorted(operators.items()) if name in FUSED},
            "normalization": operators["RMSNormalization"] + operators["SkipSimplifiedLayerNormalization"],
            "rotary": operators["RotaryEmbedding"],
            "nodes": len(graph.graph),
            "logits_to_keep": limited,
        },
    )
    ctx.progress(3, 4, "saving")
    save_graph(graph, ctx.out)
    ctx.describe(dtype=dtype)


def _require_fixed_angles(file: Path) -> None:
    """Rotary frequencies that are replaced while a text grows are no part of any graph."""
    from modelwright_plugins.format.json_file import read_json

    for key in ("rope_parameters", "rope_scaling"):
        if '"dynamic"' in json.dumps(read_json(file).get(key)):  # models may have one for each kind of layer
            raise StageError(
                "The frequencies of rope_type dynamic change with the longest text so far, and a graph is "
                "fixed.",
                where=f"{file}, key {key}",
                accepted="default, linear, yarn, longrope, llama3",
                hint="without the key, the model reads texts up to the length that it was trained on",
            )


def _first_cause(error: BaseException) -> str:
    """The first line of what the exporter's own summary was raised from."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


def causal_footprint(size: ModelSize) -> Footprint:
    """Predicted need of tracing: one copy of the weights in float32, until they are written, or four where
    they are written into the graph; on the disk another, which narrower weights are traced from.

    Fitted to `python -m benchmarks.footprint`.
    """
    weights = 4 * size.parameters
    memory = 540 * MIB + 4 * weights if weights <= INLINE_LIMIT else 650 * MIB + int(1.03 * weights)
    copy = weights if size.weight_bytes < weights else 0
    return Footprint(
        memory_bytes=memory,
        disk_bytes=weights + copy + 2 * MIB,
        result=size.model_copy(update={"weight_bytes": weights}),
    )


def _check_contract(graph: onnx_ir.Model, anatomy: CausalAnatomy, architecture: str) -> None:
    """Every input and output there, batch and lengths dynamic."""
    layers = range(len(anatomy.layers))
    parts = ("key", "value")
    inputs = [*anatomy.inputs, *(f"past_key_values.{i}.{part}" for i in layers for part in parts)]
    outputs = ["logits", *(f"present.{i}.{part}" for i in layers for part in parts)]
    values = {str(value.name): value for value in (*graph.graph.inputs, *graph.graph.outputs)}
    lacking = [name for name in (*inputs, *outputs) if name not in values]
    fixed = [
        f"{name} {values[name].shape}"
        for name in (*inputs, *outputs)
        if name in values and _fixed(values[name], name)
    ]
    if lacking or fixed:
        what = (
            f"lacks {', '.join(lacking[:4])}"
            if lacking
            else f"has fixed dimensions in {', '.join(fixed[:4])}"
        )
        raise StageError(
            f"The exported graph {what}.",
            where=architecture,
            accepted="every input and output of a step, with dynamic batch, length and past",
        )


def _fixed(value: onnx_ir.Value, name: str) -> bool:
    from modelwright_plugins.causal_trace.names import DIMENSIONS

    wanted = DIMENSIONS[name.partition(".")[0]]
    shape = value.shape
    return shape is None or any(
        label is not None and isinstance(dimension, int)
        for label, dimension in zip(wanted, shape, strict=True)
    )
