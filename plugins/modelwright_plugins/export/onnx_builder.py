"""Graphs of causal language models by ONNX Runtime GenAI's model builder, which writes them by hand."""

from __future__ import annotations

import contextlib
import importlib.util
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from modelwright.errors import MissingError, RecipeError, StageError
from modelwright_plugins.anatomy.read import read_anatomy
from modelwright_plugins.format.onnx import GRAPH_FILE

Precision = Literal["fp32", "fp16", "int8", "int4"]
GENAI_CONFIG = "genai_config.json"
WEIGHTS_FILE = f"{GRAPH_FILE}.data"
# What the builder calls ONNX Runtime's execution providers.
PROVIDERS = {
    "CPUExecutionProvider": "cpu",
    "CUDAExecutionProvider": "cuda",
    "DmlExecutionProvider": "dml",
    "WebGpuExecutionProvider": "webgpu",
    "NvTensorRTRTXExecutionProvider": "NvTensorRtRtx",
}
# Text models alone: the builder's other classes take images or sound as well.
_COMPARED = re.compile(r'architectures\[0\] == "(\w+ForCausalLM)"')


def known_architectures() -> frozenset[str]:
    """Architectures of text models that the installed builder knows, read in its source without running it.

    Raises MissingError where ONNX Runtime GenAI is not installed.
    """
    package = importlib.util.find_spec("onnxruntime_genai")
    if package is None or package.origin is None:
        raise MissingError(
            "The model builder is part of ONNX Runtime GenAI, which is not installed.",
            hint="pip install 'modelwright[genai]'",
        )
    source = Path(package.origin).parent / "models" / "builder.py"
    return frozenset(_COMPARED.findall(source.read_text(encoding="utf-8")))


def require_architecture(architecture: str, where: str) -> None:
    """Raise RecipeError for an architecture that the builder does not know."""
    known = known_architectures()
    if architecture not in known:
        raise _unknown(architecture, where, known)


def build_graph(
    checkpoint: Path,
    out: Path,
    *,
    architecture: str,
    precision: Precision = "fp32",
    options: Mapping[str, str | int | bool] | None = None,
    provider: str = "CPUExecutionProvider",
    scratch: Path,
    where: str = "graph: builder",
    with_config: bool = False,
) -> None:
    """Write a checkpoint's `model.onnx`, `model.onnx.data` and, if wanted, `genai_config.json` into `out`.

    >>> build_graph(model.path, ctx.out, architecture="LlamaForCausalLM", scratch=ctx.scratch("builder"))

    The graph has a fused GroupQueryAttention in each layer (on the CPU: in float32), inputs `input_ids`,
    `attention_mask`, `past_key_values.N.key|value` and outputs `logits`, `present.N.key|value`; batches are
    to be padded on the right. Tied weights are stored once unless `options` say otherwise. `options` are the
    builder's own (`block_size`, `accuracy_level`, `algo_config` ...). `scratch` is an empty folder. Nothing
    is fetched; equal inputs give equal bytes. Raises RecipeError for an architecture or a combination of
    options that the builder does not take.
    """
    require_architecture(architecture, where)
    if provider not in PROVIDERS:
        raise RecipeError(
            f"The model builder makes no graph for {provider}.",
            where="target.provider",
            accepted=", ".join(PROVIDERS),
        )
    # The package takes its own folder into the search path for modules with names as common as `builders`.
    with _search_path():
        from onnxruntime_genai.models.builder import create_model, parse_extra_options

        from modelwright_plugins.export.onnx_builder_memory import quantize_node_by_node

        device = PROVIDERS[provider]
        given = {"hf_token": False, **(options or {})}
        texts = [f"{key}={str(value).lower()}" for key, value in given.items()]
        source, target, cache = str(checkpoint), str(scratch / "built"), str(scratch / "cache")
        try:
            parsed = parse_extra_options(None, source, target, precision, device, cache, texts)
            with quantize_node_by_node():
                create_model(None, source, target, precision, device, cache, **parsed)
        except NotImplementedError as error:
            raise _unknown(architecture, where, known_architectures()) from error
        except ValueError as error:
            raise RecipeError(
                f"The model builder refuses: {error}",
                where=where,
                hint="or use export.onnx with graph: trace",
            ) from error
    for name in (WEIGHTS_FILE, *((GENAI_CONFIG,) if with_config else ())):
        (scratch / "built" / name).rename(out / name)
    anatomy = read_anatomy(checkpoint)
    _write_graph(scratch / "built", out, anatomy.shape.head_dim if anatomy else None)


def _write_graph(built: Path, out: Path, head_width: int | None) -> None:
    """Write the graph without notes on where and when it was made; its weights stay in their own file."""
    import onnx_ir

    from modelwright_plugins.format.onnx_graph import strip_metadata

    graph = onnx_ir.load(str(built / GRAPH_FILE))
    strip_metadata(graph)
    # The builder notes the revision of whatever repository its environment lies in.
    graph.producer_version = None
    # The builder leaves the width of a head open.
    for value in (*graph.graph.inputs, *graph.graph.outputs):
        if str(value.name).startswith(("past_key_values.", "present.")) and value.shape is not None:
            value.shape = onnx_ir.Shape([*list(value.shape)[:3], head_width or value.shape[3]])
    onnx_ir.save(graph, str(out / GRAPH_FILE))


def require_fused_attention(out: Path, checkpoint: Path, where: str) -> None:
    """Raise StageError unless the graph has one GroupQueryAttention for each layer of the checkpoint."""
    from collections import Counter

    from modelwright_plugins.format.onnx import read_graph

    anatomy = read_anatomy(checkpoint)
    layers = anatomy.shape.layers if anatomy else None
    fused = Counter(node.op_type for node in read_graph(out).graph.node)["GroupQueryAttention"]
    if layers is None or fused < layers:
        raise StageError(
            f"Attention is one operator in {fused} of {layers or 'an unknown number of'} layers.",
            where=where,
            accepted="GroupQueryAttention in each",
            hint="set require_fused=false, or graph: trace",
        )


@contextlib.contextmanager
def _search_path() -> Iterator[None]:
    before = list(sys.path)
    try:
        yield
    finally:
        sys.path[:] = before


def _unknown(architecture: str, where: str, known: frozenset[str]) -> RecipeError:
    return RecipeError(
        f"The model builder of ONNX Runtime GenAI does not know {architecture}.",
        where=where,
        accepted=", ".join(sorted(known)),
        hint="export.onnx with graph: trace takes other architectures",
    )
