"""Opens an ONNX Runtime session on a model folder. Imports neither torch nor onnx."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING

from modelwright.api.model import Model, ModelSpec
from modelwright.api.target import Target
from modelwright.errors import MissingError, RecipeError
from modelwright.planning.devices import parse_size
from modelwright_plugins.format.onnx import GRAPH_FILE
from modelwright_plugins.format.onnx_assignment import RECORD_ASSIGNMENT, require_assigned
from modelwright_plugins.format.onnx_cuda import CUDA, load_libraries

if TYPE_CHECKING:
    import onnxruntime

# Comes with every build.
REMOTE = "AzureExecutionProvider"


def open_session(
    model: Model, target: Target, *, graph_capture: bool = False
) -> onnxruntime.InferenceSession:
    """A session on the folder's graph with the target's provider and threads.

    >>> open_session(model, Target(threads=2)).get_inputs()[0].name
    'input_ids'

    `spec.details["session"]` holds session options of the artifact (`add_session_config_entry` keys). With
    `graph_capture` runs are recorded as CUDA graphs, and each has to say which (`gpu_graph_id`).
    Raises MissingError where the provider is not there, does not load or leaves computing to the CPU,
    RecipeError for options that it does not know, and for a graph that is damaged or that this ONNX Runtime
    does not run.
    """
    import onnxruntime as ort

    if not (model.path / GRAPH_FILE).is_file():
        raise RecipeError(
            "The folder has no graph.",
            where=str(model.path / GRAPH_FILE),
            hint="modelwright verify says whether an artifact is as it was published",
        )
    require_provider(target)
    options = ort.SessionOptions()
    options.intra_op_num_threads = target.thread_count
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    entries = model.spec.details.get("session", {})
    for key, value in entries.items() if isinstance(entries, dict) else ():
        options.add_session_config_entry(key, str(value))
    from onnxruntime.capi import onnxruntime_pybind11_state as raised

    try:
        return session_on(model.path / GRAPH_FILE, options, target, graph_capture=graph_capture)
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


def require_provider(target: Target) -> None:
    """Raise RecipeError for a provider that no ONNX Runtime has, MissingError for one that this lacks."""
    import onnxruntime as ort

    available = [name for name in ort.get_available_providers() if name != REMOTE]
    if target.provider == REMOTE:
        raise RecipeError(
            f"{REMOTE} computes no operator: it calls a service.",
            where="target.provider",
            accepted=", ".join(available),
        )
    if target.provider not in ort.get_all_providers():
        by_word = {_word(name): name for name in available}
        near = difflib.get_close_matches(_word(target.provider), by_word, n=1)
        raise RecipeError(
            f"ONNX Runtime knows no {target.provider}.",
            where="target.provider",
            accepted=", ".join(available),
            hint=f"did you mean '{by_word[near[0]]}'?" if near else None,
        )
    if target.provider not in available:
        raise MissingError(
            f"ONNX Runtime {ort.__version__} has no {target.provider}.",
            where="target.provider",
            accepted=", ".join(available),
            hint="install a build of ONNX Runtime that has it; modelwright[gpu] has CUDAExecutionProvider",
        )


def _word(provider: str) -> str:
    """What tells a provider from the others."""
    return provider.removesuffix("ExecutionProvider").lower()


def session_on(
    graph: Path, options: onnxruntime.SessionOptions, target: Target, *, graph_capture: bool = False
) -> onnxruntime.InferenceSession:
    """A session on the target's provider. Raises MissingError where it falls back to the CPU instead."""
    import onnxruntime as ort
    from onnxruntime.capi import onnxruntime_pybind11_state as raised

    provider = target.provider
    if provider == CUDA:
        load_libraries()
    options.add_session_config_entry(RECORD_ASSIGNMENT, "1")
    capture = {"enable_cuda_graph": "1"} if graph_capture else {}
    given = [(provider, {**provider_options(target), **capture})]
    try:
        # Without fallback: Python's own would repeat on the CPU what the provider failed at.
        session = ort.InferenceSession(str(graph), options, providers=given, enable_fallback=0)
    except raised.Fail as error:
        if not graph_capture:
            raise
        raise RecipeError(
            f"{provider} does not record the graph's kernels: {error}",
            where="target.graph_capture",
            accepted="false, or a graph whose operators all have kernels there",
        ) from error
    except RuntimeError as error:
        if "provider option" not in str(error):
            raise
        raise RecipeError(
            f"{provider} does not take its options: {str(error).rpartition(' : ')[2]}",
            where="target.provider_options",
            accepted="those of ONNX Runtime's documentation of the provider",
        ) from error
    if session.get_providers()[0] != provider:
        raise MissingError(
            f"ONNX Runtime fell back from {provider} to {session.get_providers()[0]}.",
            where="target.provider",
            hint="install the provider's libraries, or choose target=cpu",
        )
    require_assigned(session, provider, str(graph))
    return session


def provider_options(target: Target) -> dict[str, str]:
    """What the target says, in the words of ONNX Runtime's provider (CUDA execution provider, options)."""
    options = dict(target.provider_options)
    if target.memory_limit is not None:
        options["gpu_mem_limit"] = str(parse_size(target.memory_limit, "target.memory_limit"))
    return options


def describe_session(spec: ModelSpec, target: Target) -> dict[str, str]:
    """Runtime, provider, threads, and what the model's description notes of the run."""
    import onnxruntime as ort

    options = ", ".join(f"{key}={value}" for key, value in provider_options(target).items())
    note = spec.details.get("note")
    return {
        "runtime": f"ONNX Runtime {ort.__version__}",
        **({"note": str(note)} if note else {}),
        "provider": target.provider,
        **({"provider options": options} if options else {}),
        "threads": str(target.thread_count),
    }
