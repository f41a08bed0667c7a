"""ONNX graphs, run by ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from modelwright.api.format import Format, GpuRuntime
from modelwright.api.model import Model, ModelSize
from modelwright.api.runner import Runner
from modelwright.api.target import Target
from modelwright.errors import MissingError, RecipeError
from modelwright_plugins.format.onnx_assignment import CPU

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto

GRAPH_FILE = "model.onnx"
# Tag of graphs whose attention over a KV cache is ONNX's own operator.
STANDARD_ATTENTION = "standard-attention"


class Onnx(Format, name="onnx", requires=("onnxruntime",)):
    """A folder with `model.onnx` (weights inside, or beside it as external data) and the tokenizer."""

    fused = frozenset({
        "Attention", "MultiHeadAttention", "GroupQueryAttention", "QAttention", "PackedAttention",
        "SkipLayerNormalization", "SkipSimplifiedLayerNormalization", "EmbedLayerNormalization",
        "BiasGelu", "FastGelu", "QuickGelu", "FusedMatMul", "FusedGemm", "DynamicQuantizeMatMul",
        "MatMulIntegerToFloat", "RotaryEmbedding", "MatMulNBits",
    })  # fmt: skip

    def check(self, path: Path, *, deep: bool = False) -> None:
        """The graph parses and its external data are all there; `deep` also looks for NaN and infinity."""
        graph = read_graph(path)
        if not graph.graph.node:
            raise RecipeError(
                "The graph is empty.", where=str(path / GRAPH_FILE), hint="copy the folder again"
            )
        from onnx import numpy_helper

        for tensor in graph.graph.initializer:
            file, end = _external(tensor)
            if file and (not (path / file).is_file() or (path / file).stat().st_size < end):
                raise RecipeError(
                    f"The weights of '{tensor.name}' are cut short or missing.", where=str(path / file)
                )
            if deep:
                values = numpy_helper.to_array(tensor, str(path))
                if values.dtype.kind == "f" and not np.isfinite(values).all():
                    raise RecipeError(
                        f"The weights of '{tensor.name}' hold NaN or infinity.", where=str(path / GRAPH_FILE)
                    )

    def size(self, path: Path) -> ModelSize:
        """Initializers counted in the graph, their data unread."""
        initializers = read_graph(path).graph.initializer
        from onnx import helper

        counts = [(int(np.prod(tensor.dims, dtype=np.int64)), tensor.data_type) for tensor in initializers]
        return ModelSize(
            parameters=sum(count for count, _ in counts),
            weight_bytes=sum(
                count * helper.tensor_dtype_to_np_dtype(data_type).itemsize for count, data_type in counts
            ),
        )

    def graph_operators(self, model: Model) -> dict[str, int]:
        """Operators of the graph as stored, by type, those of nested graphs and functions included."""
        from modelwright_plugins.format.onnx_operators import count_operators

        return dict(count_operators(read_graph(model.path)))

    @classmethod
    def gpu_runtimes(cls) -> tuple[GpuRuntime, ...]:
        """ONNX Runtime's CUDA provider."""
        import onnxruntime as ort

        from modelwright_plugins.format.onnx_cuda import cuda_problem

        return (GpuRuntime(f"ONNX Runtime {ort.__version__}", cuda_problem()),)

    def check_target(self, target: Target) -> None:
        """ONNX Runtime has the provider; the CPU's is in every build, so that nothing is imported for it."""
        if target.provider == CPU:
            return
        from modelwright_plugins.format.onnx_session import require_provider

        require_provider(target)

    def runner(self, model: Model, target: Target) -> Runner:
        """An ONNX Runtime session on the target's execution provider; needs no torch."""
        if model.spec.task == "generate":
            from modelwright_plugins.format.onnx_causal_runner import OnnxCausalRunner

            return OnnxCausalRunner(model, target)
        from modelwright_plugins.format.onnx_runner import OnnxRunner

        return OnnxRunner(model, target)


def read_graph(path: Path) -> ModelProto:
    """The graph of a model folder without its external data. Raises RecipeError when it does not parse."""
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ModuleNotFoundError as error:
        raise MissingError(
            "Reading a graph needs the package onnx; running it does not.",
            where=str(path),
            hint="pip install 'modelwright[cpu]'",
        ) from error

    file = path / GRAPH_FILE
    if not file.is_file():
        raise RecipeError("The folder has no graph.", where=str(path), accepted=GRAPH_FILE)
    try:
        return onnx.load(str(file), load_external_data=False)
    except DecodeError as error:
        raise RecipeError("The graph is damaged or cut short.", where=str(file)) from error


def _external(tensor: TensorProto) -> tuple[str, int]:
    """File and end offset of a tensor's external data; an empty name when its data are in the graph."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    return entries.get("location", ""), int(entries.get("offset", 0)) + int(entries.get("length", 0))
