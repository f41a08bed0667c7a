"""What an exported OpenVINO graph is relieved of: spare outputs, counters in names, conversion notes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from modelwright.errors import StageError

if TYPE_CHECKING:
    import openvino

# Written by the front end beside what the weights are called: 'embeddings_word_embeddings_weight_0:0'.
TENSOR_SUFFIX = re.compile(r"_\d+:\d+$")
# Operators whose constant input is a module's weight.
WEIGHTED = ("MatMul", "Gather")


def keep_output(graph: openvino.Model, name: str) -> None:
    """Remove every output but one. Raises StageError when the graph does not have it."""
    if not any(name in port.get_names() for port in graph.outputs):
        names = sorted(other for port in graph.outputs for other in port.get_names())
        raise StageError(f"The exported graph has no output '{name}'.", accepted=", ".join(names))
    for port in graph.outputs:
        if name not in port.get_names():
            graph.remove_result(port.get_node())


def name_operators(graph: openvino.Model, parameters: Iterable[str]) -> None:
    """Name nodes after the checkpoint's parameters, and the rest by type and place in the graph.

    A weight gets its parameter's name and the operator that uses it the module's. The front end numbers
    nodes by a counter that never restarts within a process; none of its names remain, but those of inputs
    and of the output.
    """
    originals = {name.replace(".", "_"): name for name in parameters}
    counts: Counter[str] = Counter()
    for node in graph.get_ordered_ops():
        kind = node.get_type_name()
        if kind == "Parameter":
            continue
        name = _parameter(node, originals) if kind == "Constant" else _module(node)
        name = name or f"{kind}_{counts[kind]}"
        counts[kind] += 1
        counts[name] += 1
        node.set_friendly_name(name if counts[name] == 1 else f"{name}#{counts[name]}")
    served = {name for port in graph.outputs for name in port.get_names()}
    for node in graph.get_ordered_ops():
        if node.get_type_name() not in ("Parameter", "Result"):
            for port in node.outputs():
                port.get_tensor().set_names(port.get_names() & served)
    graph.set_friendly_name("model")


def strip_info(graph: openvino.Model) -> None:
    """Remove notes on the conversion, and the precision the exporter pins (the runner's options decide)."""
    for key in ("conversion_parameters", "runtime_options"):
        if key in graph.rt_info:
            del graph.rt_info[key]


def _parameter(node: openvino.Node, originals: Mapping[str, str]) -> str | None:
    names = (TENSOR_SUFFIX.sub("", name) for name in node.output(0).get_names())
    return next((originals[name] for name in names if name in originals), None)


def _module(node: openvino.Node) -> str | None:
    """The module whose weight a node multiplies by or looks up, or None."""
    if node.get_type_name() not in WEIGHTED:
        return None
    for port in node.inputs():
        source = port.get_source_output().get_node()
        # 16-bit weights are converted on their way.
        if source.get_type_name() == "Convert":
            source = source.input_value(0).get_node()
        name = source.get_friendly_name()
        if source.get_type_name() == "Constant" and name.endswith(".weight"):
            return name.removesuffix(".weight")
    return None
