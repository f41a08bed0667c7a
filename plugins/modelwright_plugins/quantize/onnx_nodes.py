"""What ONNX Runtime's quantizers need before and leave behind."""

from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from pydantic import JsonValue

from modelwright.errors import StageError


def prepared(folder: Path, file: Path) -> None:
    """Write the graph of a model folder to `file` as the quantizers take it.

    Initializers lose their `value_info`: the quantizers transpose weights in place and then trip over the
    shapes recorded before.
    """
    import onnx

    from modelwright_plugins.format.onnx import GRAPH_FILE

    graph = onnx.load(str(folder / GRAPH_FILE))
    names = {initializer.name for initializer in graph.graph.initializer}
    kept = [info for info in graph.graph.value_info if info.name not in names]
    del graph.graph.value_info[:]
    graph.graph.value_info.extend(kept)
    onnx.save(graph, str(file), save_as_external_data=graph.ByteSize() > 1_800_000_000)


def matching(file: Path, patterns: Sequence[str], where: str) -> list[str]:
    """Names of the nodes that match any pattern. Raises StageError for a pattern that matches none."""
    import onnx

    if not patterns:
        return []
    names = [node.name for node in onnx.load(str(file), load_external_data=False).graph.node]
    found: list[str] = []
    for pattern in patterns:
        hits = fnmatch.filter(names, pattern)
        if not hits:
            raise StageError(
                f"The pattern '{pattern}' matches no node of the graph.",
                where=where,
                accepted=f"patterns over names such as {', '.join(names[:3])}",
            )
        found += hits
    return sorted(set(found))


def finish(file: Path, out: Path) -> dict[str, JsonValue]:
    """Save a quantized graph into `out` without traces of how it was made; its operators by type."""
    import onnx_ir

    from modelwright_plugins.format.onnx_graph import save_graph

    model = onnx_ir.load(str(file))
    onnx_ir.external_data.load_to_model(model)
    save_graph(model, out)
    return dict(Counter(node.op_type for node in model.graph))
