"""Optimize an ONNX graph for ONNX Runtime, by name or by measuring."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, JsonValue

from modelwright.api.context import StageContext
from modelwright.api.metric import Metric, Value
from modelwright.api.model import Model, ModelSize, ModelSpec
from modelwright.api.stage import MIB, Footprint, Stage
from modelwright.api.target import Target
from modelwright.errors import ModelwrightError, RecipeError, StageError
from modelwright_plugins.anatomy.angle_table import angle_table_bytes
from modelwright_plugins.compile.variants import GENERATES, VARIANTS, variants_for
from modelwright_plugins.format.onnx_graph import INLINE_LIMIT
from modelwright_plugins.metric.decode import Decode
from modelwright_plugins.metric.latency import Latency
from modelwright_plugins.metric.parity import Parity
from modelwright_plugins.text.companions import copy_companions

Variant = Literal["auto", "fused", "packed", "lengths", "lean", "flat", "standard", "contrib", "extended"]
# Those that put in operators of ONNX Runtime's own; auto may choose one.
OWN_OPERATORS = ("auto", "lengths", "contrib", "extended", "fused")
# A GPU is there for many texts at once.
BATCHES = {"cpu": 1, "cuda": 32}
LENGTH, NEW_TOKENS = 128, 32


class CompileOnnxRuntime(
    Stage,
    name="compile.onnxruntime",
    takes="onnx",
    gives="onnx",
    fidelity="exact",
    measures=True,
    requires=("onnx", "onnxruntime", "onnxscript", "transformers"),
):
    """Rewrite a graph, quantized or not, into the form its execution provider runs fastest.

    ::

        compile: {use: compile.onnxruntime, variant: auto, data: docs}
        compile: {use: compile.onnxruntime, variant: lean}

    For models that generate: `standard` is the graph as it comes. `packed` joins products of one input
    (query, key and value; gate and up) into one, so that fewer operators start for each token. `fused` also
    leaves rotary embedding and mask to GroupQueryAttention, where that shows to be the same. Its graph takes
    rows of unequal length padded on the right, as those of ONNX Runtime GenAI's model builder do. A graph
    that a variant finds nothing in stays as it is.

    For encoders: `standard` is the graph as it comes. `lengths`, for float16 and the CUDA provider, tells
    attention each text's length in place of a mask, so that it computes in tiles; rows are padded on the
    right. `flat` uses the 3-D form of `Attention`, one shared key mask, and none of the exporter's guards.
    `lean` also keeps residual additions apart from normalization, whose fused CPU kernel is slow. `contrib`
    uses ONNX Runtime's own fused operators. `extended` is `standard` after ONNX Runtime's offline
    optimization at that level.

    `auto` builds all that apply, measures each in a process of its own against the first, and keeps the
    fastest whose parity with the input holds and whose speed-up clears the 95 % interval, for one text, or 32
    that an encoder on a GPU takes at once; else the first of fused, packed, lengths, lean, flat, standard,
    contrib, extended that holds parity. What does not run is left out. A named variant measures nothing: its
    result does not depend on the machine. Thread settings are the manifest's, not the graph's.
    """

    variant: Variant = Field("auto", description="Which form; auto measures.")
    data: str | None = Field(None, description="Data set whose validation split auto checks parity on.")
    # An int8 graph rounds differently once operators are fused, by as much as quantizing it did.
    parity: float = Field(0.99, gt=0, le=1, description="Least mean cosine with the input graph for auto.")
    rounds: int = Field(5, ge=3, description="Turns each variant takes in auto.")

    def added_tags(self) -> Collection[str]:
        """`onnxruntime-only`, where ONNX Runtime's own operators may be put in."""
        return (*self.adds, "onnxruntime-only") if self.variant in OWN_OPERATORS else self.adds

    def depends_on_machine(self) -> bool:
        """Only `auto` does."""
        return self.variant == "auto"

    def check(self, spec: ModelSpec) -> None:
        """`auto` needs data, and a named variant has to be one for the model's task."""
        if self.variant != "auto" and spec.task not in VARIANTS[self.variant].tasks:
            raise RecipeError(
                f"The variant '{self.variant}' is not for models whose task is {spec.task}.",
                where="parameter variant",
                accepted=", ".join(["auto", *variants_for(spec.task)]),
            )
        if self.variant == "auto" and self.data is None:
            raise RecipeError(
                "compile.onnxruntime with variant auto checks parity, and no data set is named for it.",
                where="parameter data",
                hint="name a data set of the recipe (data: docs), or a variant (variant: lean)",
            )

    def footprint(self, size: ModelSize) -> Footprint:
        """The graph, two rewritten copies of it and a session on one; or one of a generating model, joined.

        That one's weights, where they lie beside the graph, are not held all at once; `fused` adds its table
        of angles. Fitted to `python -m benchmarks.footprint`.
        """
        memory = 330 * MIB + 5 * size.weight_bytes
        if size.anatomy is not None and size.anatomy.shape.generates:
            memory = 138 * MIB + int((4.5 if size.weight_bytes <= INLINE_LIMIT else 0.6) * size.weight_bytes)
        table = angle_table_bytes(size) if self.variant == "fused" else 0
        result = size.model_copy(update={"weight_bytes": size.weight_bytes + table})
        return Footprint(
            memory_bytes=memory + 6 * table, disk_bytes=result.weight_bytes + 2 * MIB, result=result
        )

    def run(self, model: Model, ctx: StageContext) -> None:
        """Build one variant, or all and keep the best."""
        names = variants_for(model.spec.task) if self.variant == "auto" else [str(self.variant)]
        built = self._build(model, ctx, names)
        if not built and model.spec.task in GENERATES:
            ctx.log.warning(
                "Nothing of variant %s applies to this graph, which stays as it is.", self.variant
            )
            built = self._build(model, ctx, ["standard"])
        elif self.variant != "auto" and not built:
            wants = VARIANTS[self.variant].wants
            raise StageError(
                f"The variant '{self.variant}' does not apply: its patterns are not in this graph.",
                where=ctx.where("variant"),
                accepted="standard, or auto" + (f"; {self.variant} is for {wants}" if wants else ""),
            )
        chosen = next(iter(built)) if len(built) == 1 else self._fastest(model, ctx, built)
        ctx.record("variant", chosen)
        for file in built[chosen].path.iterdir():
            if file.is_file() and not (ctx.out / file.name).exists():
                file.rename(ctx.out / file.name)
        copy_companions(model.path, ctx.out)
        ctx.describe(dtype=model.spec.dtype)

    def _build(self, model: Model, ctx: StageContext, names: list[str]) -> dict[str, Model]:
        from modelwright_plugins.format.onnx_graph import load_graph, save_graph

        ctx.describe(dtype=model.spec.dtype)
        built: dict[str, Model] = {}
        for index, name in enumerate(names):
            ctx.progress(index, len(names), f"building {name}")
            graph = load_graph(model.path, weights=False)
            rewrite = VARIANTS[name].rewrite
            if rewrite is not None and rewrite(graph, ctx.target, model.spec) == 0:
                ctx.log.info("variant %s does not apply", name)
                continue
            folder = ctx.scratch(name)
            save_graph(graph, folder)
            if name == "extended" and not self._optimized(folder, ctx):
                continue
            copy_companions(model.path, folder)
            made = ctx.model(folder)
            if same := next((other for other, known in built.items() if known.digest == made.digest), None):
                ctx.log.info("variant %s is the same graph as %s", name, same)
                continue
            built[name] = made
        return built

    def _fastest(self, model: Model, ctx: StageContext, built: dict[str, Model]) -> str:
        assert self.data is not None
        ctx.progress(0, 1, f"measuring {len(built)} variants")
        parity = [Parity(data=self.data)]
        equal = _of_those_that_run(built, ctx, lambda models: ctx.measure(models, parity, baseline=model))
        cosines = {
            name: _figure(values, "parity.cosine_mean").candidate.value for name, values in equal.items()
        }
        holding = {name: built[name] for name, cosine in cosines.items() if cosine >= self.parity}
        if not holding:
            raise StageError(
                f"No variant keeps parity with the input; the best reaches {max(cosines.values()):.5f}.",
                where=ctx.where("parity"),
                accepted=f"at least {self.parity}",
            )
        metric, figure = self._speed(model.spec, ctx.target)
        measured = _of_those_that_run(holding, ctx, lambda models: ctx.measure(models, [metric]))
        speed = {name: _figure(values, figure) for name, values in measured.items()}
        chosen = next(iter(speed))
        for name, value in speed.items():
            ratio, best = value.ratio, speed[chosen].ratio
            if ratio and best and ratio.low > 1 and ratio.value > best.value:
                chosen = name
        rows: list[JsonValue] = [
            _row(name, cosines[name], speed.get(name), name == chosen) for name in cosines
        ]
        ctx.record("variants", rows)
        return chosen

    def _optimized(self, folder: Path, ctx: StageContext) -> bool:
        """Optimize a graph offline; False where auto does without."""
        try:
            _optimize_offline(folder, ctx.target)
        except ModelwrightError as error:
            if self.variant != "auto":
                raise
            ctx.log.warning("variant extended does not run: %s", error.what)
            return False
        return True

    def _speed(self, spec: ModelSpec, target: Target) -> tuple[Metric, str]:
        """What variants are compared by: how fast one text is decoded, or a batch encoded."""
        if spec.task in GENERATES:
            prompt = max(1, min(LENGTH, spec.max_length - NEW_TOKENS - 1))
            decode = Decode(batch=(1,), length=(prompt,), new_tokens=NEW_TOKENS, rounds=self.rounds)
            return decode, "decode.tokens_per_second"
        length = min(LENGTH, spec.max_length)
        return Latency(batch=(BATCHES[target.device],), length=(length,), rounds=self.rounds), "latency.p50"


def _of_those_that_run(
    models: Mapping[str, Model],
    ctx: StageContext,
    measure: Callable[[Mapping[str, Model]], dict[str, list[Value]]],
) -> dict[str, list[Value]]:
    """What is measured of models, without those that fail alone as well; raises where all do."""
    try:
        return measure(models)
    except ModelwrightError as error:
        failure = error
    running: dict[str, Model] = {}
    for name, model in models.items():
        try:
            measure({name: model})
            running[name] = model
        except ModelwrightError as error:
            ctx.log.warning("variant %s does not run: %s", name, error.what)
    if not running:
        raise failure
    return measure(running)


def _optimize_offline(folder: Path, target: Target) -> None:
    """Replace a graph by what ONNX Runtime makes of it at level `extended`."""
    import onnxruntime as ort

    from modelwright_plugins.format.onnx import GRAPH_FILE
    from modelwright_plugins.format.onnx_graph import load_graph, save_graph
    from modelwright_plugins.format.onnx_session import session_on

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    options.log_severity_level = 3
    session_on(folder / GRAPH_FILE, options, target)
    (folder / "optimized.onnx").replace(folder / GRAPH_FILE)
    save_graph(load_graph(folder), folder)


def _figure(values: list[Value], name: str) -> Value:
    return next(value for value in values if value.name == name)


def _row(name: str, cosine: float, speed: Value | None, chosen: bool) -> dict[str, JsonValue]:
    row: dict[str, JsonValue] = {"variant": name, "cosine mean": round(cosine, 6)}
    if speed and speed.ratio:
        row[speed.unit] = round(speed.candidate.value, 3)
        row["times faster than the first"] = round(speed.ratio.value, 3)
        row["95 % interval"] = f"{speed.ratio.low:.3f} – {speed.ratio.high:.3f}"
    row["kept"] = "yes" if chosen else ""
    return row
