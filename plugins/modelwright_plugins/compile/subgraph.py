"""What a few values of a graph are, found by running only what they are made of."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx_ir as ir

# What an additive mask has to reach to hide a key from the softmax, in every float type.
HIDDEN = -1e4
log = logging.getLogger(__name__)


def run_subgraph(
    model: ir.Model, outputs: Sequence[ir.Value], feed: Mapping[str, np.ndarray]
) -> list[np.ndarray] | None:
    """The values that `outputs` have for the inputs in `feed`.

    None where they depend on other inputs too, or where ONNX Runtime does not run this part by itself.
    """
    import onnx_ir as ir
    import onnxruntime as ort

    given = {str(value.name): value for value in model.graph.inputs}
    try:
        graph = ir.convenience.extract(model.graph, [given[name] for name in feed], list(outputs))
    except (KeyError, ValueError):  # no such input, or others are needed
        return None
    part = ir.Model(graph, ir_version=model.ir_version, functions=tuple(model.functions.values()))
    ir.external_data.load_to_model(part)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    try:
        session = ort.InferenceSession(
            ir.to_proto(part).SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        return list(session.run(None, {item.name: feed[item.name] for item in session.get_inputs()}))
    except Exception as error:  # ONNX Runtime's own classes have no common base
        log.info("A part of the graph does not run by itself: %s", error)
        return None
