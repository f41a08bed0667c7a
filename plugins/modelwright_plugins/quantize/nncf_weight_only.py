"""Weights in 4 or 8 bits for OpenVINO graphs, by NNCF; activations stay in floating point."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from modelwright.api.context import StageContext
from modelwright.api.dataset import text_of
from modelwright.api.model import Model, ModelSize
from modelwright.api.stage import MIB, Footprint, Stage
from modelwright.errors import RecipeError
from modelwright_plugins.prune.sparsity import without_sparsity
from modelwright_plugins.quantize.nncf_names import matching_operators, rename_counted

if TYPE_CHECKING:
    import openvino

BITS = {"int4_sym": 4, "int4_asym": 4, "int8_sym": 8, "int8_asym": 8}


class QuantizeNNCFWeightOnly(
    Stage,
    name="quantize.nncf_weight_only",
    takes="openvino",
    gives="openvino",
    fidelity="approximate",
    adds=("weight-only",),
    refuses=("int8", "weight-only"),
    requires=("nncf>=3.4,<3.5", "openvino>=2026.4,<2026.5"),
):
    """Store the weights in 4 or 8 bits, each group of a row with a scale of its own.

    ::

        stages:
          export:   {use: export.openvino}
          quantize: {use: quantize.nncf_weight_only, mode: int4_asym, group_size: 64}

    `mode` `asym` gives each group a zero point beside its scale. Of the weights that can take 4 bits, `ratio`
    do, the least sensitive ones; the rest, embeddings and the head take 8 (`all_layers: true` puts
    those in 4 bits as well). A group that does not divide a row is made smaller. 8 bits have one scale a row.

    With `data`, `samples` texts of its calibration split improve the 4-bit weights: `awq` moves scales
    between layers, `scale_estimation` fits scales to the outputs, `gptq` corrects rounding column by column.

    Methods: NNCF's weight compression; AWQ (Lin et al. 2023, arXiv:2306.00978), GPTQ (Frantar et al. 2022,
    arXiv:2210.17323).
    """

    mode: Literal["int4_sym", "int4_asym", "int8_sym", "int8_asym"] = Field(
        "int4_asym", description="Bits, and whether groups have a zero point (asym)."
    )
    group_size: int = Field(64, ge=16, le=4096, description="Weights that share a scale, in 4 bits.")
    ratio: float = Field(1.0, ge=0, le=1, description="Share of the weights in 4 bits; the rest has 8.")
    all_layers: bool = Field(False, description="Embeddings and head in 4 bits too.")
    awq: bool = Field(False, description="Activation-aware scales; needs data.")
    scale_estimation: bool = Field(False, description="Scales fitted to the outputs; needs data.")
    gptq: bool = Field(False, description="Rounding errors corrected column by column; needs data.")
    data: str | None = Field(None, description="Data set whose calibration split is run.")
    samples: int = Field(64, ge=1, description="Texts to calibrate on.")
    length: int = Field(256, ge=8, description="Tokens of a text that are run.")
    ignore: tuple[str, ...] = Field((), description="Operators that stay in float: names or patterns.")

    @model_validator(mode="after")
    def _consistent(self) -> QuantizeNNCFWeightOnly:
        wanting = [name for name in ("awq", "scale_estimation", "gptq") if getattr(self, name)]
        if wanting and self.data is None:
            raise ValueError(f"{wanting[0]} needs data: the name of a data set of the recipe")
        if wanting and BITS[self.mode] == 8:
            raise ValueError(f"{wanting[0]} improves 4-bit weights; mode is {self.mode}")
        if BITS[self.mode] == 8 and (idle := self.changed("group_size", "ratio", "all_layers")):
            raise ValueError(f"{idle[0]} is of 4-bit weights; mode is {self.mode}")
        if self.data is not None and not wanting and self.ratio == 1:
            raise ValueError("data has no use without awq, scale_estimation, gptq or a ratio below 1")
        return self

    def run(self, model: Model, ctx: StageContext) -> None:
        """Choose bits, compress, save."""
        from modelwright_plugins.format.openvino_ir import GRAPH_FILE
        from modelwright_plugins.format.openvino_offline import import_openvino
        from modelwright_plugins.quantize.nncf_silence import nncf_logs_to
        from modelwright_plugins.text.companions import copy_companions

        ov = import_openvino()
        graph = ov.Core().read_model(str(model.path / GRAPH_FILE))
        names = {node.get_friendly_name() for node in graph.get_ordered_ops()}
        ignored = matching_operators(graph, self.ignore, ctx.where("ignore"))
        with nncf_logs_to(ctx.log):
            compressed = self._compress(model, graph, ignored, ctx)
        for key in ("nncf", "conversion_parameters"):
            if key in compressed.rt_info:
                del compressed.rt_info[key]
        rename_counted(compressed, names)
        ov.save_model(compressed, str(ctx.out / GRAPH_FILE), compress_to_fp16=False)
        copy_companions(model.path, ctx.out)
        ctx.record("weights", _counts(compressed))  # type: ignore[arg-type]
        ctx.describe(dtype=f"int{BITS[self.mode]}")

    def tags_after(self, tags: Collection[str]) -> tuple[str, ...]:
        """GPTQ makes up for errors in every weight, zeros too; on other grids zero is exact."""
        kept = super().tags_after(tags)
        return without_sparsity(kept) if self.gptq else kept

    def footprint(self, size: ModelSize) -> Footprint:
        """The graph, NNCF's work on one weight after the other, and the result; for `data`, also the graph
        compiled. Fitted to `python -m benchmarks.footprint`.
        """
        stored = int(size.parameters * (0.62 if BITS[self.mode] == 4 else 1.02))
        result = ModelSize(parameters=size.parameters, weight_bytes=stored)
        memory = 410 * MIB + int(1.3 * size.weight_bytes)
        if self.data is not None:
            memory += 40 * MIB + int(1.3 * size.weight_bytes)
        return Footprint(
            memory_bytes=memory,
            disk_bytes=stored + MIB,
            result=result,
        )

    def _compress(
        self, model: Model, graph: openvino.Model, ignored: tuple[str, ...], ctx: StageContext
    ) -> openvino.Model:
        import nncf

        options: dict[str, Any] = {
            "mode": nncf.CompressWeightsMode[self.mode.upper()],
            "ignored_scope": nncf.IgnoredScope(names=list(ignored)) if ignored else None,
        }
        if BITS[self.mode] == 4:
            options |= {
                "group_size": self.group_size,
                "ratio": self.ratio,
                "all_layers": self.all_layers,
                "awq": self.awq,
                "scale_estimation": self.scale_estimation,
                "gptq": self.gptq,
                "advanced_parameters": nncf.AdvancedCompressionParameters(
                    group_size_fallback_mode=nncf.GroupSizeFallbackMode.ADJUST, min_adjusted_group_size=16
                ),
            }
        if self.data is not None:
            batches = self._batches(model, graph, ctx)
            options |= {"dataset": nncf.Dataset(batches), "subset_size": len(batches)}
        return nncf.compress_weights(graph, **options)

    def _batches(self, model: Model, graph: openvino.Model, ctx: StageContext) -> list[dict[str, Any]]:
        """Texts one by one, as the graph's inputs: those of prompts, or those of an encoder."""
        import numpy as np

        from modelwright_plugins.text.calibration import text_batches
        from modelwright_plugins.text.prompts import PromptTokenizer

        assert self.data is not None
        wanted = [port.any_name for port in graph.inputs]
        if model.spec.generation is None:
            texts = text_batches(model, ctx, self.data, "calibration", self.samples)
            return [{name: inputs[name] for name in wanted} for inputs in texts]
        tokenizer = PromptTokenizer(model.path, model.spec.generation)
        records = ctx.data(self.data, "calibration")[: self.samples]
        rows = tokenizer.encode([text_of(record) for record in records])
        batches = []
        for row in rows:
            ids = np.array([row[: min(self.length, model.spec.max_length)]])
            available = {
                "input_ids": ids,
                "attention_mask": np.ones_like(ids),
                "position_ids": np.arange(ids.shape[1])[None],
                "beam_idx": np.zeros(1, np.int32),
                "logits_to_keep": np.arange(ids.shape[1]),
            }
            batches.append({name: available[name] for name in wanted})
        if not batches:
            raise RecipeError("The calibration split is empty.", where=ctx.where("data"))
        return batches


def _counts(graph: openvino.Model) -> dict[str, int]:
    """Weights by the type they are stored in."""
    counts: dict[str, int] = {}
    for node in graph.get_ordered_ops():
        if node.get_type_name() == "Constant" and len(node.get_output_shape(0)) >= 2:
            kind = node.get_element_type().to_string()
            total = 1
            for length in node.get_output_shape(0):
                total *= int(length)
            counts[kind] = counts.get(kind, 0) + total
    return counts
