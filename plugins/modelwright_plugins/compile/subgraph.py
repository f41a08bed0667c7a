"""What a few values of a graph are, found by running only what they are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx_ir as ir


def run_subgraph(
    model: ir.Model, outputs: Sequence[ir.Value], feed: Mapping[str, np.ndarray]
) -> list[np.ndarray] | None:
    """The values that `outputs` have for the inputs in `feed`; None where they depend on other inputs too."""
    import onnx_ir as ir
    import onnxruntime as ort

    given = {str(value.name): value for value in model.graph.inputs}
    try:
        graph = ir.convenience.extract(model.graph, [given[name] for name in feed], list(outputs))
    except (KeyError, ValueError):  # no such input, or others are needed
        return None
    part = ir.external_data.load_to_model(ir.Model(graph, ir_version=model.ir_version))
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(
        ir.to_proto(part).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return list(session.run(None, {item.name: feed[item.name] for item in session.get_inputs()}))
