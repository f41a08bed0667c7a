"""What ONNX Runtime's quantizers need before and leave behind."""

from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import JsonValue

from modelwright.errors import RecipeError, did_you_mean

if TYPE_CHECKING:
    import onnx_ir as ir


def prepared(model: ir.Model, folder: Path) -> Path:
    """Write a graph into `folder` as the quantizers take it; the file.

    Initializers lose their `value_info`: the quantizers transpose weights in place and then trip over the
    shapes recorded before. The graph is marked as prepared, or the quantizers warn that it is not.
    """
    import onnx

    from modelwright_plugins.format.onnx import GRAPH_FILE
    from modelwright_plugins.format.onnx_graph import save_graph

    save_graph(model, folder)
    file = folder / GRAPH_FILE
    proto = onnx.load(str(file), load_external_data=False)
    names = {initializer.name for initializer in proto.graph.initializer}
    kept = [info for info in proto.graph.value_info if info.name not in names]
    del proto.graph.value_info[:]
    proto.graph.value_info.extend(kept)
    onnx.helper.set_model_props(proto, {"onnx.quant.pre_process": "onnxruntime.quant"})
    file.write_bytes(proto.SerializeToString())
    return file


def matching(model: ir.Model, patterns: Sequence[str], where: str) -> list[str]:
    """Names of the nodes that match any pattern. Raises RecipeError for a pattern that matches none."""
    names = [str(node.name) for node in model.graph]
    examples = constant_layers(model, ("MatMul", "Gemm")) or names
    found: set[str] = set()
    for pattern in patterns:
        hits = fnmatch.filter(names, pattern)
        if not hits:
            raise RecipeError(
                f"The pattern '{pattern}' matches no node of the graph.",
                where=where,
                accepted=f"patterns over names such as {', '.join(examples[:3])}",
                hint=did_you_mean(pattern, names),
            )
        found.update(hits)
    return sorted(found)


def constant_layers(model: ir.Model, operators: Sequence[str]) -> list[str]:
    """Names of the nodes of these types whose second input is constant."""
    return [
        str(node.name)
        for node in model.graph
        if node.op_type in operators and node.inputs[1] is not None and node.inputs[1].const_value is not None
    ]


def transpose_gemm_weights(model: ir.Model) -> None:
    """Give each Gemm with a transposed constant weight [n, k] one of its own, [k, n].

    The dynamic quantizer transposes them in place, after it has held the ranges given for them against their
    shape, and once for each Gemm that shares one.
    """
    import numpy as np

    from modelwright_plugins.format.onnx_graph import add_initializer

    for node in model.graph:
        value = node.inputs[1] if node.op_type == "Gemm" else None
        tensor = value.const_value if value is not None else None
        if value is None or tensor is None or node.attributes.get_int("transB", 0) != 1:
            continue
        weight = np.ascontiguousarray(tensor.numpy().T)
        node.replace_input_with(1, add_initializer(model.graph, f"{node.name}_transposed", weight))
        del node.attributes["transB"]
        if not value.uses() and value.name in model.graph.initializers:
            del model.graph.initializers[str(value.name)]


def operators_of(model: ir.Model) -> dict[str, JsonValue]:
    """How often each operator occurs."""
    return dict(Counter(node.op_type for node in model.graph))
