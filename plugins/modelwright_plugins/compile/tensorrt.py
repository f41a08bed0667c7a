"""Build a TensorRT engine out of an ONNX graph."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from modelwright.api.context import StageContext
from modelwright.api.model import Model, ModelSize, ModelSpec
from modelwright.api.stage import MIB, Footprint, Stage
from modelwright.api.target import Target, TensorRTLibrary
from modelwright.digest import digest_file
from modelwright.errors import RecipeError
from modelwright.planning.devices import parse_size
from modelwright.planning.gpu import driver, gpus
from modelwright_plugins.format.engines import Engine, Engines
from modelwright_plugins.format.onnx import GRAPH_FILE, STANDARD_ATTENTION
from modelwright_plugins.tensorrt.build import EngineBuilder, Profiles, Settings
from modelwright_plugins.tensorrt.layers import layers_of
from modelwright_plugins.tensorrt.library import TITLES, load, problem_of, require_served
from modelwright_plugins.tensorrt.profile import Profile, with_total_length
from modelwright_plugins.tensorrt.profile_checks import check_profiles
from modelwright_plugins.tensorrt.timing import TimingCache
from modelwright_plugins.text.companions import copy_companions

# What the inspector says of the engine's layers, where it runs on the machine that builds it.
LAYERS_FILE = "layers.json"
# What TensorRT for RTX does not offer, and of that what it does on a GPU.
NOT_FOR_RTX = {
    "version_compatible": "is not offered",
    "hardware_compatible": "is not offered: its engines name several compute capabilities",
    "refit": "needs the GPU that it builds for",
    "strip_weights": "needs the GPU that it builds for",
}
ON_A_GPU = ("refit", "strip_weights")
MOST_WORKSPACE = 2**50
FLAGS = {
    "refit": "REFIT",
    "strip_weights": "STRIP_PLAN",
    "weight_streaming": "WEIGHT_STREAMING",
    "version_compatible": "VERSION_COMPATIBLE",
    "sparse_weights": "SPARSE_WEIGHTS",
}
DYNAMIC = "its ranges are found while it runs (DynamicQuantizeLinear), which TensorRT's parser does not take"
CONTRIB = "its operators are ONNX Runtime's own (com.microsoft), which TensorRT's parser does not take"
TABLES = "TensorRT looks no rows of int8 tables up: quantize with operators=[MatMul, Gemm]"
UNSIGNED = "uint8 with a zero point is not computed by TensorRT: quantize with activation=int8"


class CompileTensorRT(
    Stage,
    name="compile.tensorrt",
    takes="onnx",
    gives="tensorrt",
    fidelity="exact",
    refuses={
        "dynamic-int8": DYNAMIC,
        "int8-embeddings": TABLES,
        "onnxruntime-only": CONTRIB,
        "uint8": UNSIGNED,
    },
    requires=("onnx", "onnx-ir", "tensorrt"),
):
    """Build an engine for NVIDIA GPUs with TensorRT, or with TensorRT for RTX where the target says so.

    ::

        compile: {use: compile.tensorrt}
        compile: {use: compile.tensorrt, profiles: [{batch: [1, 1, 1], length: [1, 32, 128]},
                                                    {batch: [1, 8, 64], length: [1, 128, 512]}]}

    Each profile says [min, opt, max] of every dynamic dimension of the graph, and the engine is fastest at
    opt; left out, there is one up to 32 texts of the model's longest. A model that generates is exported with
    attention=attention; its dimension `past` counts tokens in the KV cache, and left out there are profiles
    for up to 8 prompts and for the tokens after them. Networks are strongly typed: they
    compute in the types of the graph, so that half precision is a step cast.dtype before the export, and
    int8 a quantize.onnx_static with activation=int8 and without the tables of embeddings. ONNX's Attention
    becomes fused attention; what no fused kernel serves fails the step, unless `decomposable` lets it be
    computed in parts.

    The result keeps the graph beside the engine, for other machines; with `fallback` it runs there in ONNX
    Runtime, and says so. TensorRT for RTX builds without a GPU, for the compute capabilities of the target or
    all that it serves. Raises StageError that names node, operator and reason where the graph cannot be
    taken, MissingError where the workspace is too small.
    """

    profiles: tuple[Profile, ...] = Field(
        (), description="[min, opt, max] of each dynamic dimension; one engine serves several profiles."
    )
    optimization_level: int | None = Field(
        None, ge=0, le=5, description="How long to look for fast kernels; null: as TensorRT chooses (3)."
    )
    workspace: str | None = Field(
        None, description="Most memory of the GPU that kernels may use beside weights, such as 4GiB."
    )
    decomposable: bool = Field(
        False, description="Compute attention in parts where no fused kernel is; none then counts as fused."
    )
    refit: bool = Field(False, description="Weights of the engine can be exchanged.")
    strip_weights: bool = Field(
        False, description="Leave weights out of the engine; they come from the graph when it is loaded."
    )
    weight_streaming: bool = Field(
        False,
        description="Weights stay in host memory where the GPU, or memory_limit of the target, has no room.",
    )
    version_compatible: bool = Field(
        False, description="Later minor versions of TensorRT run it, too; such an engine holds code."
    )
    hardware_compatible: bool = Field(False, description="GPUs from Ampere on run it, whichever built it.")
    sparse_weights: bool = Field(False, description="Use kernels for weights that are 2:4 sparse.")
    fallback: bool = Field(False, description="Run the graph in ONNX Runtime where no engine fits.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.workspace is not None:
            try:
                if parse_size(self.workspace, "workspace") > MOST_WORKSPACE:
                    raise ValueError("workspace is more than any GPU has; leave it out for all that there is")
            except RecipeError as error:
                raise ValueError(f"{error.what} accepted: {error.accepted}") from error
        return self

    def depends_on_machine(self) -> bool:
        """TensorRT chooses the kernels that are fastest on the GPU here."""
        return True

    def check(self, spec: ModelSpec) -> None:
        """Fused attention computes in 16 bits, sparse kernels in 2:4."""
        if spec.dtype == "float32" and not self.decomposable:
            raise RecipeError(
                "TensorRT fuses attention in float16 and bfloat16 alone, and this model's type is float32.",
                where="parameter decomposable",
                accepted="a step cast.dtype with fp16 or bf16 before the export, or decomposable=true",
            )
        if spec.task == "generate" and STANDARD_ATTENTION not in spec.tags:
            raise RecipeError(
                "Attention over the graph's KV cache is an operator of ONNX Runtime's own "
                "(GroupQueryAttention), which TensorRT's parser does not take.",
                where="parameter use",
                accepted="a step export.onnx with attention=attention before",
            )
        if self.strip_weights and spec.task == "generate":
            raise RecipeError(
                "Weights of a model that generates are not put back: its engine has a graph of its own.",
                where="parameter strip_weights",
                accepted="false",
            )
        check_profiles(self.profiles, spec)
        if self.sparse_weights and "sparse-2:4" not in spec.tags:
            raise RecipeError(
                "Kernels for sparse weights serve the pattern 2:4, and no step makes the model sparse so.",
                where="parameter sparse_weights",
                accepted="false, or a pruning step with pattern 2:4 before the export",
            )

    def check_target(self, target: Target) -> None:
        """The target names a TensorRT, and that one has what is asked for."""
        library = target.tensorrt
        if library is None:
            raise RecipeError(
                "The target names no TensorRT.",
                where="target.tensorrt",
                accepted=", ".join(TITLES),
                hint="target=tensorrt, target=rtx, or target=rtx-build without a GPU",
            )
        if library == "tensorrt" and target.device != "cuda":
            raise RecipeError(
                "TensorRT builds engines on the GPU that they are for.",
                where="target.device",
                accepted="cuda",
                hint="target=rtx-build builds without a GPU, for those of workstations",
            )
        if library == "tensorrt" and target.compute_capabilities:
            raise RecipeError(
                "TensorRT builds for the GPU here, whatever compute capabilities the target names.",
                where="target.compute_capabilities",
                accepted="none; or target.tensorrt=tensorrt_rtx, which builds for those that it serves",
                hint="hardware_compatible=true in the step makes an engine for GPUs from Ampere on",
            )
        if library == "tensorrt_rtx" and target.compute_capabilities:
            require_served(library, target.compute_capabilities)
        if target.runs and target.device != "cuda" and not self.fallback:
            raise RecipeError(
                "The engine is to be run, and the target's device is the CPU.",
                where="target.runs",
                accepted="false, for an engine that runs elsewhere; or fallback=true in the step, which runs "
                "the graph in ONNX Runtime",
            )
        offered = ON_A_GPU if target.device == "cuda" else ()
        for field, why in NOT_FOR_RTX.items() if library == "tensorrt_rtx" else ():
            if getattr(self, field) and field not in offered:
                raise RecipeError(
                    f"In TensorRT for RTX {field} {why}.", where=f"parameter {field}", accepted="false"
                )

    def footprint(self, size: ModelSize) -> Footprint:
        """The graph, the network's weights and the engine; graph and engine on disk."""
        generates = size.anatomy is not None and size.anatomy.shape.generates
        return Footprint(
            memory_bytes=350 * MIB + (5 if generates else 4) * size.weight_bytes,
            disk_bytes=(3 if generates else 2) * size.weight_bytes + 8 * MIB,
            result=size,
        )

    def run(self, model: Model, ctx: StageContext) -> None:
        """Parse, build, and write engine, graph and the table of what runs it."""
        library = ctx.target.tensorrt
        assert library is not None, "check_target refuses a target without one"
        ctx.progress(0, 2, "parsing")
        builder = EngineBuilder(library, self._graph(model, ctx), ctx.where)
        if self.decomposable:
            builder.let_decompose()
        profiles = [with_total_length(profile) for profile in self.profiles or _usual(model.spec)]
        ctx.progress(1, 2, "building")
        # TensorRT for RTX measures nothing while it builds: it chooses kernels where the engine runs.
        times = TimingCache(ctx.cache_dir, library) if library == "tensorrt" else None
        engine = builder.build(profiles, self._settings(ctx.target), times)
        for file in model.path.glob(f"{GRAPH_FILE}*"):
            shutil.copyfile(file, ctx.out / file.name)
        copy_companions(model.path, ctx.out)
        Engines.write(
            ctx.out,
            Engine(
                library=library,
                version=builder.version,
                compute_capabilities=ctx.target.compute_capabilities or _built_for(library),
                driver=found.version if (found := driver()) else None,
                cuda=found.cuda if found else None,
                profiles=tuple(profiles),
                operators=builder.operators,
                decomposable=self.decomposable,
                hardware_compatible=self.hardware_compatible,
                version_compatible=self.version_compatible,
                weights_from=_digests(ctx.out) if self.strip_weights else {},
                streamed=self.weight_streaming,
            ),
            engine,
        )
        ctx.describe(dtype=model.spec.dtype, details={"fallback": True} if self.fallback else {})
        if problem_of(library) is None:
            layers = layers_of(load(library), engine)
            (ctx.out / LAYERS_FILE).write_text(json.dumps(layers, indent=1) + "\n", encoding="utf-8")
            types = Counter(str(layer.get("LayerType", "unknown")) for layer in layers)
            ctx.record("layers", dict(types.most_common()))
        ctx.record("engine", {"library": TITLES[library], "version": builder.version, "bytes": len(engine)})

    def _graph(self, model: Model, ctx: StageContext) -> Path:
        """The file to parse: of a model that generates a copy whose caches are joined outside attention."""
        if model.spec.task != "generate":
            return model.path / GRAPH_FILE
        from modelwright_plugins.format.onnx_graph import load_graph, save_graph
        from modelwright_plugins.tensorrt.causal import join_caches_outside

        graph = load_graph(model.path, weights=False)
        join_caches_outside(graph)
        scratch = ctx.scratch("graph")
        save_graph(graph, scratch)
        return scratch / GRAPH_FILE

    def _settings(self, target: Target) -> Settings:
        return Settings(
            flags=tuple(flag for field, flag in FLAGS.items() if getattr(self, field)),
            optimization_level=self.optimization_level,
            workspace=parse_size(self.workspace, "workspace") if self.workspace else None,
            compute_capabilities=target.compute_capabilities,
            hardware_compatibility="AMPERE_PLUS" if self.hardware_compatible else None,
        )


def _digests(folder: Path) -> dict[str, str]:
    """SHA-256 of the graph's files."""
    return {file.name: digest_file(file) for file in sorted(folder.glob(f"{GRAPH_FILE}*"))}


def _built_for(library: TensorRTLibrary) -> tuple[str, ...]:
    """The GPU here, which TensorRT builds for; TensorRT for RTX builds for all that it serves."""
    return (gpus()[0].compute_capability,) if library == "tensorrt" and gpus() else ()


def _usual(spec: ModelSpec) -> Profiles:
    """Batches of up to 32 texts; of a model that generates up to 8 prompts, and the tokens after them."""
    longest = spec.max_length
    if spec.task == "generate":
        usual = min(128, longest - 1)
        return [
            {"batch": (1, 1, 8), "length": (1, usual, longest), "past": (0, 0, 0)},
            {"batch": (1, 1, 8), "length": (1, 1, 1), "past": (1, usual, longest - 1)},
        ]
    return [{"batch": (1, 8, 32), "length": (1, min(128, longest), longest)}]
