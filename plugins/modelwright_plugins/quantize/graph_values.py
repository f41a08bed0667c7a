"""Values inside an ONNX graph while texts run through it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from modelwright.api.runner import Inputs

if TYPE_CHECKING:
    import onnx_ir as ir


def values_of(
    model: ir.Model, names: Sequence[str], batches: Iterable[Inputs]
) -> Iterator[dict[str, np.ndarray]]:
    """Run batches one by one through a graph that also gives the named values; yields them for each batch.

    Nothing is kept between batches. The model is left as it is; a copy of it goes to a temporary folder, as
    one past 2 GiB fits no buffer.
    """
    import onnx_ir as ir
    import onnxruntime as ort

    from modelwright_plugins.format.onnx import GRAPH_FILE
    from modelwright_plugins.format.onnx_graph import save_graph

    graph = model.clone()
    wanted = dict.fromkeys(names)
    found = {str(value.name): value for node in graph.graph for value in node.outputs if value.name in wanted}
    graph.graph.outputs.clear()
    for name in wanted:
        found[name].dtype = found[name].dtype or ir.DataType.FLOAT
        graph.graph.outputs.append(found[name])
    with tempfile.TemporaryDirectory() as folder:
        save_graph(graph, Path(folder))
        options = ort.SessionOptions()
        options.log_severity_level = 3
        session = ort.InferenceSession(
            str(Path(folder) / GRAPH_FILE), options, providers=["CPUExecutionProvider"]
        )
    fed = [item.name for item in session.get_inputs()]
    for batch in batches:
        outputs = session.run(list(wanted), {name: batch[name] for name in fed})
        yield dict(zip(wanted, outputs, strict=True))
