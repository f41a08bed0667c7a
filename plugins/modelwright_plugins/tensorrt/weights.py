"""Weights of a loaded engine: put back where it was built without them, and how many stay on the GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from modelwright.errors import RecipeError, StageError
from modelwright_plugins.tensorrt.library import logger_of


def put_back(trt: Any, engine: Any, graph: Path) -> None:
    """Give an engine that was built without its weights those of the graph that it was built from.

    Other weights than those give other outputs without a word. Raises RecipeError where the graph lacks some.
    """
    logger = logger_of(trt)
    logger.errors.clear()
    refitter = trt.Refitter(engine, logger)
    parser = trt.OnnxParserRefitter(refitter, logger)
    read = parser.refit_from_file(str(graph))
    missing = refitter.get_missing_weights()
    if not read or missing or not refitter.refit_cuda_engine():
        reasons = [parser.get_error(number).desc() for number in range(parser.num_errors)]
        lacking = [f"it lacks {', '.join(missing[:3])}"] if missing else []
        raise RecipeError(
            "The engine does not take its weights from its graph: "
            f"{'; '.join([*reasons, *lacking]) or logger.said()}",
            where=str(graph),
            accepted="the graph that the engine was built from, as it was written",
            hint="copy the folder again, or build the engine again",
        )


def stream(engine: Any, limit: int | None) -> str:
    """Let weights stay on the host that have no room on the GPU; says how many are streamed from there.

    Room is what is free on the GPU, or what `limit` bytes leave beside the memory of the engine's contexts;
    weights that cannot be streamed come on top. Called before the engine has a context. Raises StageError
    where TensorRT does not take the budget.
    """
    budget = engine.get_weight_streaming_automatic_budget()
    if limit is not None:
        # What a context needs depends on the budget, and is most where every weight is streamed.
        engine.weight_streaming_budget_v2 = 0
        beside = engine.device_memory_size_v2 * engine.num_optimization_profiles
        budget = min(budget, max(0, limit - beside))
    whole = engine.streamable_weights_size
    engine.weight_streaming_budget_v2 = min(budget, whole)
    kept = engine.weight_streaming_budget_v2
    if kept > max(budget, 0):
        raise StageError(
            f"TensorRT keeps {kept / 2**20:,.0f} MiB of weights on the GPU, and {budget / 2**20:,.0f} were "
            "asked for.",
            where="target.memory_limit",
        )
    return f"{(whole - kept) / 2**20:,.0f} of {whole / 2**20:,.0f} MiB from the host"
