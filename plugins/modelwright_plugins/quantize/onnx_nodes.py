"""What ONNX Runtime's quantizers need before and leave behind."""

from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import JsonValue

from modelwright.errors import StageError, did_you_mean

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
    """Names of the nodes that match any pattern. Raises StageError for a pattern that matches none."""
    names = [str(node.name) for node in model.graph]
    found: set[str] = set()
    for pattern in patterns:
        hits = fnmatch.filter(names, pattern)
        if not hits:
            raise StageError(
                f"The pattern '{pattern}' matches no node of the graph.",
                where=where,
                accepted=f"patterns over names such as {', '.join(names[:3])}",
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


def operators_of(model: ir.Model) -> dict[str, JsonValue]:
    """How often each operator occurs."""
    return dict(Counter(node.op_type for node in model.graph))
