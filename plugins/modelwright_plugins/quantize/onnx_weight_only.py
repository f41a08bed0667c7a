"""Weights of an ONNX graph in 4 or 8 bits, activations in floating point."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from modelwright.api.context import StageContext
from modelwright.api.dataset import Split
from modelwright.api.model import Model, ModelSize
from modelwright.api.stage import Footprint, Stage
from modelwright.errors import RecipeError, StageError
from modelwright_plugins.prune.sparsity import without_sparsity
from modelwright_plugins.text.companions import copy_companions
from modelwright_plugins.weight_only.footprint import weight_only_footprint

if TYPE_CHECKING:
    import onnx_ir as ir

    from modelwright_plugins.weight_only.blocks import BlockWeight
    from modelwright_plugins.weight_only.calibration import Feed
    from modelwright_plugins.weight_only.layers import Layer

FLOAT = 32
Bits = Mapping[str, int]


class QuantizeOnnxWeightOnly(
    Stage,
    name="quantize.onnx_weight_only",
    takes="onnx",
    gives="onnx",
    fidelity="approximate",
    target_fields=("threads",),
    refuses=("int8", "weight-only"),
    adds=("weight-only", "onnxruntime-only"),
    requires=("onnx", "onnx-ir", "onnxruntime"),
):
    """Store the weights of MatMul and Gemm in 4 or 8 bits, in blocks with a scale each (MatMulNBits).

    ::

        quantize: {use: quantize.onnx_weight_only}
        quantize: {use: quantize.onnx_weight_only, method: gptq, data: docs, symmetric: true}
        quantize: {use: quantize.onnx_weight_only, data: docs, budget: 4.5}

    `method` is `rtn` (round to nearest), `hqq` (half-quadratic, Badri and Shaji 2023), `k_quant` (grids
    searched as in llama.cpp) or `gptq` (Frantar et al. 2023, arXiv:2210.17323), which runs `samples` pieces
    of the calibration split of `data`, each of `length` tokens (or one text, for an encoder).

    `budget` is a mean number of bits per weight over the matched layers, not counting scales and zero points
    (those of 32 weights add 1.125 bits to each). Layers get `bits`, and the most sensitive ones `high_bits`
    (32: they stay as they are) as far as it reaches. Sensitivity is what quantizing a layer alone does to the
    outputs on `sensitivity_samples` pieces of the validation split; the record `layers` holds it.

    `lm_head` takes in the layer that gives the logits. `embeddings` stores the token table, too
    (GatherBlockQuantized), in `embedding_bits`; tied to a quantized head, the two share one copy, with the
    head's bits. With the head alone, a tied table stays in float beside it; the record `bytes` says what it
    costs. `layer_bits` sets bits by node-name pattern, before the budget is spent on the rest.

    `accuracy_level` 4 lets the kernels round activations to int8, block by block, which is several times
    faster. Others compute in float; then 8-bit weights are dequantized as a whole at each token.
    """

    method: Literal["rtn", "hqq", "k_quant", "gptq"] = Field("k_quant", description="How codes are chosen.")
    bits: Literal[4, 8] = Field(4, description="Bits per weight.")
    block_size: Literal[16, 32, 64, 128, 256] = Field(32, description="Inputs that share a scale.")
    symmetric: bool = Field(False, description="No zero points: a little smaller and less exact.")
    accuracy_level: int = Field(
        4, ge=0, le=4, description="Of MatMulNBits: 4 computes in int8, 1 in float32."
    )
    lm_head: bool = Field(True, description="Whether the layer that gives the logits is quantized.")
    embeddings: bool = Field(False, description="Whether the table of token embeddings is.")
    embedding_bits: Literal[4, 8] = Field(8, description="Bits of that table, unless it shares the head's.")
    include: tuple[str, ...] = Field(
        ("*",), min_length=1, description="Node-name patterns (fnmatch) to take."
    )
    exclude: tuple[str, ...] = Field((), description="Node-name patterns that are left alone.")
    layer_bits: dict[str, Literal[4, 8]] = Field({}, description="Bits by node-name pattern.")
    data: str | None = Field(None, description="Data set for gptq and budget.")
    samples: int = Field(64, ge=1, description="Pieces of the calibration split that gptq runs.")
    length: int = Field(256, ge=2, description="Tokens of a piece, for a model that generates.")
    damping: float = Field(
        0.01, gt=0, description="What gptq adds to the Hessian's diagonal, times its mean."
    )
    act_order: bool = Field(False, description="Whether gptq rounds inputs of greatest energy first.")
    budget: float | None = Field(None, ge=4, le=32, description="Mean bits per weight, without scales.")
    high_bits: Literal[8, 32] = Field(8, description="Bits of the layers that the budget favours.")
    sensitivity_samples: int = Field(8, ge=1, description="Pieces of the validation split it is judged on.")

    @model_validator(mode="after")
    def _consistent(self) -> QuantizeOnnxWeightOnly:
        if self.data is None:
            wanting = "method: gptq" if self.method == "gptq" else "budget" if self.budget is not None else ""
            if wanting:
                raise ValueError(f"{wanting} needs data: the name of a data set of the recipe")
        if self.data is not None and self.method != "gptq" and self.budget is None:
            raise ValueError("data has no use without method: gptq or a budget")
        if self.method != "gptq" and (idle := self.changed("samples", "damping", "act_order")):
            raise ValueError(f"{idle[0]} is of method: gptq, and the method is {self.method}")
        if self.budget is not None and not self.bits <= self.budget <= self.high_bits:
            raise ValueError(
                f"budget {self.budget} is not between bits {self.bits} and high_bits {self.high_bits}"
            )
        if self.budget is not None and self.bits == self.high_bits:
            raise ValueError(
                f"bits and high_bits are both {self.bits}, which leaves a budget nothing to choose"
            )
        return self

    def depends_on_machine(self) -> bool:
        """Only with a budget, which is spent by how layers measure in this machine's arithmetic."""
        return self.budget is not None

    def tags_after(self, tags: Collection[str]) -> tuple[str, ...]:
        """GPTQ makes up for errors in every weight, zeros too; on other grids zero is exact."""
        kept = super().tags_after(tags)
        return without_sparsity(kept) if self.method == "gptq" else kept

    def footprint(self, size: ModelSize) -> Footprint:
        """What is quantized, and what the method holds beside it."""
        return weight_only_footprint(self, size)

    def run(self, model: Model, ctx: StageContext) -> None:
        """Find the layers, quantize them, spend the budget, rewrite the graph, save."""
        from onnx_ir.passes.common import RemoveUnusedNodesPass

        from modelwright_plugins.format.onnx_graph import load_graph, save_graph
        from modelwright_plugins.weight_only.layers import name_nodes, require_unquantized
        from modelwright_plugins.weight_only.report import initializer_bytes, layer_table, mean_bits
        from modelwright_plugins.weight_only.rewrite import quantize_layer, quantize_lookups

        graph = load_graph(model.path, weights=False)
        require_unquantized(graph, str(model.path))
        name_nodes(graph)
        layers = self._layers(graph, ctx)
        bits = self._fixed(graph, layers, ctx)
        before = initializer_bytes(graph)
        copy_companions(model.path, ctx.out)
        candidates = self._candidates(model, graph, layers, bits, ctx)
        sensitivity = self._sensitivity(model, graph, layers, bits, candidates, ctx)
        bits = self._spend(layers, bits, sensitivity, ctx)
        ctx.record("layers", layer_table(layers, bits, candidates, sensitivity, self.method))
        ctx.record("bits", mean_bits(layers, bits, candidates))
        for layer in layers:
            weight = candidates.pop(layer.name).get(bits[layer.name])
            if weight is not None:
                values = quantize_layer(graph, layer, weight, self.accuracy_level)
                if layer.lookups:
                    quantize_lookups(graph, layer.lookups, weight, values)
        tables = self._tables(graph)
        RemoveUnusedNodesPass()(graph)
        size = {"before": before, "after": initializer_bytes(graph), **tables}
        ctx.record("bytes", {name: int(number) for name, number in size.items()})
        save_graph(graph, ctx.out)
        found = sorted(set(bits.values())) or [self.embedding_bits]
        ctx.describe(dtype="+".join("float32" if number == FLOAT else f"int{number}" for number in found))

    def _layers(self, graph: ir.Model, ctx: StageContext) -> list[Layer]:
        """The layers to quantize."""
        from modelwright_plugins.quantize.onnx_nodes import matching
        from modelwright_plugins.weight_only.layers import layers_of

        names = set(matching(graph, self.include, ctx.where("include")))
        names -= set(matching(graph, self.exclude, ctx.where("exclude")))
        layers = [layer for layer in layers_of(graph, names) if self.lm_head or not layer.head]
        if not layers:
            raise StageError(
                "No MatMul or Gemm with constant weights in float32 or float16 is left to quantize.",
                where=ctx.where("include"),
                hint="the name patterns of include and exclude, and lm_head, decide which are taken",
            )
        for layer in layers:
            if layer.inputs < self.block_size:
                raise StageError(
                    f"The layer '{layer.name}' has {layer.inputs} inputs, less than one block of "
                    f"{self.block_size}.",
                    where=ctx.where("block_size"),
                    accepted=f"a block_size of at most {layer.inputs}",
                    hint="leave the layer in float with exclude, or choose smaller blocks",
                )
            if not self.embeddings:
                layer.lookups = []
        return layers

    def _fixed(self, graph: ir.Model, layers: Sequence[Layer], ctx: StageContext) -> dict[str, int]:
        """The bits that `layer_bits` names for some of the layers."""
        from modelwright_plugins.quantize.onnx_nodes import matching

        fixed: dict[str, int] = {}
        for pattern, bits in self.layer_bits.items():
            found = set(matching(graph, [pattern], ctx.where("layer_bits")))
            fixed.update({layer.name: bits for layer in layers if layer.name in found})
        return fixed

    def _candidates(
        self, model: Model, graph: ir.Model, layers: Sequence[Layer], fixed: Bits, ctx: StageContext
    ) -> dict[str, dict[int, BlockWeight]]:
        """Each layer in each number of bits that it may end up with."""
        from modelwright_plugins.weight_only.methods import quantized

        def bits_of(layer: Layer) -> list[int]:
            choice = {self.bits} if self.budget is None else {self.bits, self.high_bits}
            return sorted(({fixed[layer.name]} if layer.name in fixed else choice) - {FLOAT})

        feeds: list[Feed] = []
        if self.method == "gptq":
            feeds = self._feeds(model, graph, "calibration", self.samples, ctx)
        candidates: dict[str, dict[int, BlockWeight]] = {}
        found = quantized(
            graph, layers, bits_of, self.method, feeds, block_size=self.block_size,
            symmetric=self.symmetric, damping=self.damping, act_order=self.act_order,
        )  # fmt: skip
        for layer, weights in found:
            candidates[layer.name] = weights
            ctx.progress(len(candidates), len(layers), "quantizing layers")
        return candidates

    def _sensitivity(
        self,
        model: Model,
        graph: ir.Model,
        layers: Sequence[Layer],
        fixed: Bits,
        candidates: Mapping[str, Mapping[int, BlockWeight]],
        ctx: StageContext,
    ) -> dict[str, float]:
        """What each layer alone does to the outputs in `bits`; nothing without a budget."""
        from modelwright_plugins.weight_only.sensitivity import WeightSwitch

        if self.budget is None:
            return {}
        feeds = self._feeds(model, graph, "validation", self.sensitivity_samples, ctx)
        switch = WeightSwitch(graph, layers, model.spec, feeds, ctx.target.thread_count)
        sensitivity: dict[str, float] = {}
        for number, layer in enumerate(layers):
            ctx.progress(number, len(layers), "measuring each layer")
            if layer.name not in fixed:
                matrix = candidates[layer.name][self.bits].dequantize().T
                sensitivity[layer.name] = switch.sensitivity({layer.name: matrix})
        return sensitivity

    def _spend(
        self, layers: Sequence[Layer], fixed: Bits, sensitivity: Mapping[str, float], ctx: StageContext
    ) -> dict[str, int]:
        """The bits of every layer."""
        from modelwright_plugins.weight_only.budget import favoured_layers

        bits = {layer.name: fixed.get(layer.name, self.bits) for layer in layers}
        if self.budget is None:
            return bits
        sizes = {layer.name: layer.size for layer in layers}
        try:
            favoured = favoured_layers(sizes, bits, sensitivity, self.high_bits, self.budget)
        except ValueError as error:
            mean = sum(sizes[name] * bits[name] for name in bits) / sum(sizes.values())
            raise RecipeError(
                f"layer_bits alone bring the mean to {mean:.3f} bits per weight, past the budget.",
                where=ctx.where("budget"),
                accepted=f"a budget of at least {mean:.3f}",
            ) from error
        return bits | dict.fromkeys(favoured, self.high_bits)

    def _feeds(
        self, model: Model, graph: ir.Model, split: Split, samples: int, ctx: StageContext
    ) -> list[Feed]:
        from modelwright_plugins.weight_only.calibration import calibration_feeds

        assert self.data is not None, "checked with the parameters"
        return calibration_feeds(model, ctx, graph, self.data, split, samples, self.length)

    def _tables(self, graph: ir.Model) -> dict[str, int]:
        """Quantize the token tables that share no blocks with a layer; bytes of the tables afterwards."""
        from modelwright_plugins.weight_only.layers import tables_of
        from modelwright_plugins.weight_only.methods import without_data
        from modelwright_plugins.weight_only.rewrite import quantize_lookups

        done = 0
        tables = tables_of(graph)
        if not self.embeddings:
            return {"tables_in_float": sum(table.nbytes for table in tables)}
        for table in tables:
            weight = without_data(
                table.matrix(), self.method, self.embedding_bits, self.block_size, symmetric=self.symmetric
            ).with_scales(table.dtype)
            quantize_lookups(graph, table.nodes, weight)
            done += weight.nbytes
        return {"tables_in_float": 0, "tables_in_blocks": done}
