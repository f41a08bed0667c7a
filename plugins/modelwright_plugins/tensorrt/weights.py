"""Weights of a loaded engine: put back where it was built without them, and how many stay on the GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from modelwright.errors import RecipeError
from modelwright_plugins.tensorrt.library import logger_of


def put_back(trt: Any, engine: Any, graph: Path) -> None:
    """Give an engine that was built without its weights those of the graph that it was built from.

    Raises RecipeError where the graph lacks some of them, or holds others.
    """
    logger = logger_of(trt)
    logger.errors.clear()
    refitter = trt.Refitter(engine, logger)
    parser = trt.OnnxParserRefitter(refitter, logger)
    read = parser.refit_from_file(str(graph))
    missing = refitter.get_missing_weights()
    if not read or missing or not refitter.refit_cuda_engine():
        lacking = f" It lacks {', '.join(missing[:3])}." if missing else ""
        raise RecipeError(
            f"The engine's weights cannot be taken from its graph: {logger.said()}.{lacking}",
            where=str(graph),
            accepted="the graph that the engine was built from, as it was written",
            hint="copy the folder again, or build the engine again",
        )


def stream(engine: Any, limit: int | None) -> str:
    """Let weights stay on the host that have no room on the GPU; says how many are streamed from there.

    Memory of the GPU is what is free, or `limit` bytes. Called before the engine has a context.
    """
    budget = engine.get_weight_streaming_automatic_budget()
    if limit is not None:
        # What each context needs depends on the budget; it is largest where every weight is streamed.
        engine.weight_streaming_budget_v2 = 0
        beside = engine.device_memory_size_v2 * engine.num_optimization_profiles
        budget = min(budget, max(0, limit - beside))
    whole = engine.streamable_weights_size
    engine.weight_streaming_budget_v2 = budget = min(budget, whole)
    return f"{(whole - budget) / 2**20:,.0f} of {whole / 2**20:,.0f} MiB from the host"
