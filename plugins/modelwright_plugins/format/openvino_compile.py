"""A graph compiled by OpenVINO's CPU plugin, and what a runner says of it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from modelwright.api.model import Model
from modelwright.api.target import Target
from modelwright.errors import MissingError, StageError
from modelwright_plugins.format.openvino_ir import GRAPH_FILE
from modelwright_plugins.format.openvino_offline import import_openvino
from modelwright_plugins.text.outputs import OUTPUTS

if TYPE_CHECKING:
    import openvino

# Layers of the compiled graph that hold the arithmetic worth naming; fused attention is a Subgraph.
HEAVY_LAYERS = ("FullyConnected", "MatMul", "ScaledDotProductAttention", "Subgraph")
# Details of a model that fix how OpenVINO runs it, and OpenVINO's properties.
PROPERTIES = {
    "inference_precision": "INFERENCE_PRECISION_HINT",
    "cache_precision": "KV_CACHE_PRECISION",
    "dynamic_quantization_group_size": "DYNAMIC_QUANTIZATION_GROUP_SIZE",
}


def compile_graph(model: Model, target: Target) -> tuple[openvino.CompiledModel, int]:
    """The graph compiled for latency with the target's threads, and the place of the output of its task.

    Raises MissingError for another device than the CPU, StageError when the graph lacks the output.
    """
    if target.device != "cpu":
        raise MissingError(
            f"OpenVINO serves the CPU here, not '{target.device}'.",
            where="target.device",
            accepted="cpu",
            hint="choose target=cpu, or a recipe whose format runs on CUDA (onnx, torch)",
        )
    ov = import_openvino()
    options: dict[str, str | int] = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": target.thread_count,
    }
    for key, name in PROPERTIES.items():
        if (value := model.spec.details.get(key)) is not None:
            options[name] = str(value)
    compiled = ov.Core().compile_model(str(model.path / GRAPH_FILE), "CPU", options)
    outputs = {name: i for i, port in enumerate(compiled.outputs) for name in port.names}
    wanted = OUTPUTS[model.spec.task]
    if wanted not in outputs:
        raise StageError(
            f"The graph has no output '{wanted}'.", where=str(model.path), accepted=", ".join(outputs)
        )
    return compiled, outputs[wanted]


def describe_compiled(compiled: openvino.CompiledModel) -> dict[str, str]:
    """Runtime, device, threads, and the precision the compiled layers really have."""
    return {
        "runtime": f"OpenVINO {import_openvino().__version__}",
        "device": ", ".join(compiled.get_property("EXECUTION_DEVICES")),
        "threads": str(compiled.get_property("INFERENCE_NUM_THREADS")),
        "precision": compiled.get_property("INFERENCE_PRECISION_HINT").to_string(),
        "layers": _layers(compiled),
    }


def _layers(compiled: openvino.CompiledModel) -> str:
    counts: Counter[str] = Counter()
    for node in compiled.get_runtime_model().get_ordered_ops():
        info = node.get_rt_info()
        kind = str(info["layerType"].astype(str)) if "layerType" in info else ""
        if kind in HEAVY_LAYERS:
            counts[f"{kind} {info['runtimePrecision'].astype(str)}"] += 1
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
