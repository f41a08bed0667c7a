"""The layers of a built engine, by TensorRT's inspector."""

from __future__ import annotations

import json
from typing import Any

from modelwright.errors import StageError
from modelwright_plugins.tensorrt.library import logger_of


def layers_of(trt: Any, engine: bytes) -> list[dict[str, Any]]:
    """Each layer as the inspector tells it, kernels and types included; of an engine for the GPU here.

    Needs a GPU that the engine runs on. Raises StageError where it does not load.
    """
    logger = logger_of(trt)
    logger.errors.clear()
    runtime = trt.Runtime(logger)
    runtime.engine_host_code_allowed = True  # one for other versions brings code; this one was built here
    loaded = runtime.deserialize_cuda_engine(engine)
    if loaded is None:
        raise StageError(f"The engine that was built does not load: {logger.said()}")
    told = loaded.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
    layers = json.loads(told).get("Layers", [])
    return [layer if isinstance(layer, dict) else {"Name": str(layer)} for layer in layers]
