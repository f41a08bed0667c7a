"""Opens an ONNX Runtime session on a model folder. Imports neither torch nor onnx."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from modelwright.api.model import Model
from modelwright.api.target import Target
from modelwright.errors import MissingError, RecipeError
from modelwright_plugins.format.onnx import GRAPH_FILE

if TYPE_CHECKING:
    import onnxruntime

CUDA = "CUDAExecutionProvider"


def open_session(model: Model, target: Target) -> onnxruntime.InferenceSession:
    """A session on the folder's graph with the target's provider and threads.

    >>> open_session(model, Target(threads=2)).get_inputs()[0].name
    'input_ids'

    `spec.details["session"]` holds session options of the artifact (`add_session_config_entry` keys).
    Raises MissingError where the provider is not there or does not load, RecipeError for a graph that is
    damaged or that this ONNX Runtime does not run.
    """
    import onnxruntime as ort

    available = ort.get_available_providers()
    if target.provider not in available:
        raise MissingError(
            f"ONNX Runtime {ort.__version__} has no {target.provider}.",
            where="target.provider",
            accepted=", ".join(available),
        )
    options = ort.SessionOptions()
    options.intra_op_num_threads = target.thread_count
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    entries = model.spec.details.get("session", {})
    for key, value in entries.items() if isinstance(entries, dict) else ():
        options.add_session_config_entry(key, str(value))
    from onnxruntime.capi import onnxruntime_pybind11_state as raised

    try:
        return session_on(model.path / GRAPH_FILE, options, target.provider)
    except (
        raised.InvalidGraph,
        raised.InvalidProtobuf,
        raised.InvalidArgument,
        raised.NotImplemented,
    ) as error:
        raise RecipeError(
            f"ONNX Runtime does not load the graph: {error}",
            where=str(model.path / GRAPH_FILE),
            hint="modelwright verify says whether an artifact is as it was published",
        ) from error


def session_on(
    graph: Path, options: onnxruntime.SessionOptions, provider: str
) -> onnxruntime.InferenceSession:
    """A session on a provider. Raises MissingError where it falls back to the CPU instead."""
    import onnxruntime as ort

    if provider == CUDA:
        # Finds CUDA's libraries in Python packages. What it misses it prints; the session then falls back.
        with contextlib.redirect_stdout(sys.stderr):
            ort.preload_dlls(msvc=False)
    session = ort.InferenceSession(str(graph), options, providers=[provider])
    if session.get_providers()[0] != provider:
        raise MissingError(
            f"ONNX Runtime fell back from {provider} to {session.get_providers()[0]}.",
            where="target.provider",
            hint="install the provider's libraries, or choose target=cpu",
        )
    return session


def describe_session(target: Target) -> dict[str, str]:
    """Runtime, provider, threads."""
    import onnxruntime as ort

    return {
        "runtime": f"ONNX Runtime {ort.__version__}",
        "provider": target.provider,
        "threads": str(target.thread_count),
    }
