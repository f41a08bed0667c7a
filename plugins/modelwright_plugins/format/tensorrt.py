"""TensorRT engines, with the ONNX graph that they came from."""

from __future__ import annotations

from pathlib import Path

from modelwright.api.component import installed_version
from modelwright.api.format import Format, GpuRuntime
from modelwright.api.model import Model, ModelSize
from modelwright.api.runner import Runner
from modelwright.api.target import Target
from modelwright.digest import digest_file
from modelwright.errors import MissingError, RecipeError
from modelwright.planning.gpu import gpus
from modelwright_plugins.format.engines import Engines
from modelwright_plugins.format.fitting_engine import fitting_engine
from modelwright_plugins.format.onnx import Onnx
from modelwright_plugins.tensorrt.library import TITLES, problem_of


class TensorRT(Format, name="tensorrt"):
    """A folder with an engine, `engines.json` that says what runs it, `model.onnx` and the tokenizer."""

    fused = frozenset({"Attention", "Normalization", "RotaryEmbedding"})

    @classmethod
    def versions(cls) -> dict[str, str]:
        """TensorRT's, which a graph that runs in place of an engine does without."""
        found = installed_version("tensorrt")
        return {"tensorrt": found} if found else {}

    @classmethod
    def gpu_runtimes(cls) -> tuple[GpuRuntime, ...]:
        """TensorRT and TensorRT for RTX."""
        return tuple(GpuRuntime(TITLES[library], problem_of(library)) for library in TITLES)

    def check(self, path: Path, *, deep: bool = False) -> None:
        """Engines are as long as they were written, `deep` unchanged, and the graph is sound."""
        for engine in Engines.read(path).engines:
            file = path / engine.file
            found = file.stat().st_size if file.is_file() else 0
            if found != engine.size:
                raise RecipeError(
                    f"The engine is cut short or missing: {found:,} bytes of {engine.size:,}.",
                    where=str(file),
                    hint="copy the folder again, or build the engine again",
                )
            if deep and digest_file(file) != engine.sha256:
                raise RecipeError(
                    "The engine was changed: its SHA-256 differs.",
                    where=str(file),
                    hint="copy the folder again, or build the engine again",
                )
        Onnx().check(path, deep=deep)

    def size(self, path: Path) -> ModelSize:
        """Those of the graph that the engine was built from."""
        return Onnx().size(path)

    def graph_operators(self, model: Model) -> dict[str, int]:
        """Layers of the network that the engine was built from, by the operator they stand for.

        Attention that may be computed in parts is not counted as one operator. Where the graph runs in place
        of the engine, its operators count.
        """
        if _why_not(model):
            return Onnx().graph_operators(model)
        engine = Engines.read(model.path).engines[0]
        fused = {} if engine.decomposable else {"Attention": engine.operators.get("Attention", 0)}
        others = {name: count for name, count in engine.operators.items() if name != "Attention"}
        return dict(sorted({**others, **fused}.items()))

    def runs_here(self, target: Target) -> bool:
        """On a GPU."""
        return target.device == "cuda" and bool(gpus())

    def runner(self, model: Model, target: Target) -> Runner:
        """The engine for this machine's GPU, or where the recipe allows it and none fits, the graph.

        Raises MissingError where none fits.
        """
        if why := _why_not(model):
            return _graph_runner(model, target, why)
        if model.spec.task == "generate":
            from modelwright_plugins.format.tensorrt_causal_runner import TensorRTCausalRunner

            return TensorRTCausalRunner(model, target)
        from modelwright_plugins.format.tensorrt_runner import TensorRTRunner

        return TensorRTRunner(model, target)


def _why_not(model: Model) -> str | None:
    """Why no engine of the folder runs here; None where one does, and where nothing may run in its place."""
    if not model.spec.details.get("fallback"):
        return None
    try:
        fitting_engine(Engines.read(model.path))
    except MissingError as error:
        return error.what
    return None


def _graph_runner(model: Model, target: Target, why: str) -> Runner:
    """The graph in ONNX Runtime, on the CPU where there is no GPU. Raises MissingError without it."""
    if missing := Onnx.missing():
        raise MissingError(
            f"{why} The graph beside the engine needs {', '.join(missing)}.",
            where=str(model.path),
            hint="pip install 'modelwright[cpu]' or 'modelwright[gpu]'",
        )
    if not gpus():
        target = Target(threads=target.threads)
    note = f"No engine was run: the graph beside it was, in ONNX Runtime. {why}"
    spec = model.spec.model_copy(update={"format": "onnx", "details": {"note": note}})
    return Onnx().runner(Model(model.path, spec, model.digest), target)
