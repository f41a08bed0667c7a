"""Export to ONNX Runtime GenAI by its own model builder."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from modelwright.api.context import StageContext
from modelwright.api.model import Model, ModelSize, ModelSpec
from modelwright.api.stage import MIB, Footprint, Stage
from modelwright.errors import RecipeError
from modelwright_plugins.anatomy.angle_table import angle_table_bytes
from modelwright_plugins.anatomy.largest_matrix import largest_matrix
from modelwright_plugins.export.onnx_builder import Precision, build_graph, require_architecture

# Bits of a weight in the graph; a block of a quantized matrix has a scale in float32 beside it.
BITS = {"fp32": 32, "fp16": 16, "int8": 8, "int4": 4}
# How often a matrix is in memory, in float32, while it is quantized: measured.
COPIES = {"default": 5, "rtn": 8, "k_quant": 13}


class ExportGenAI(
    Stage,
    name="export.genai",
    takes="torch",
    gives="genai",
    fidelity="approximate",
    tasks=("generate",),
    requires=("torch", "transformers", "onnx", "onnxruntime", "onnxruntime-genai>=0.18,<0.19"),
):
    """Make a folder of ONNX Runtime GenAI, with fused attention and weights of 4 or 8 bits where asked for.

    ::

        export: {use: export.genai, precision: int4, block_size: 32}

    The model builder writes the graph for the target's execution provider: GroupQueryAttention in each layer,
    MatMulNBits for quantized matrices, tied embeddings stored once. With `int8` the embeddings stay in
    float32. Nothing is calibrated. Raises RecipeError for architectures that the builder does not know,
    which export.onnx with `graph: trace` takes.
    """

    precision: Precision = Field("int4", description="Of the weights; fp16 is for GPUs.")
    block_size: Literal[16, 32, 64, 128, 256] = Field(
        32, description="Weights that share a scale (int4, int8)."
    )
    accuracy_level: Literal[0, 1, 2, 3, 4] = Field(
        4, description="Arithmetic of quantized products on the CPU: 1 float32, 4 int8; 0 leaves it open."
    )
    algorithm: Literal["default", "rtn", "k_quant"] = Field(
        "default", description="How weights are rounded; k_quant searches scales and takes longest."
    )
    symmetric: bool = Field(True, description="Without zero points; k_quant always has them.")
    keep_int8: Literal["none", "last", "mixed"] = Field(
        "none", description="With int4: the output head, or also the layers that lose most, stay at 8 bits."
    )
    shared_embeddings: bool | None = Field(
        None, description="Store tied embeddings once; null does where the checkpoint ties them."
    )

    @model_validator(mode="after")
    def _names_that_join_up(self) -> Self:
        """Refuse what has no effect, and what the builder writes graphs of that do not load."""
        quantizing = ("block_size", "accuracy_level", "algorithm", "symmetric", "keep_int8")
        if self.precision in ("fp32", "fp16") and (idle := self.changed(*quantizing)):
            raise ValueError(f"{idle[0]} is of quantized weights, and precision is {self.precision}")
        if self.precision == "int8" and self.keep_int8 != "none":
            raise ValueError("keep_int8 keeps layers of an int4 model at 8 bits, and precision is int8")
        if self.algorithm == "default" and not (self.symmetric and self.keep_int8 == "none"):
            raise ValueError(
                "algorithm 'default' is symmetric and keeps nothing at 8 bits; take 'rtn' or 'k_quant'"
            )
        return self

    def check(self, spec: ModelSpec) -> None:
        """The builder knows the architecture."""
        require_architecture(spec.architecture, "export.genai")

    def footprint(self, size: ModelSize) -> Footprint:
        """The checkpoint, the graph with its angles, and the copies that quantizing a matrix makes."""
        largest, table = largest_matrix(size), angle_table_bytes(size)
        graph = size.parameters * self._bytes_per_weight()
        copies = 2 if self.precision in ("fp32", "fp16") else COPIES[self.algorithm]
        if self.precision == "int8":
            # The embeddings stay as they are, beside a quantized output head.
            graph, copies = graph + 4 * largest, copies + 1
        held = graph if self.precision in ("int4", "int8") else 0
        return Footprint(
            memory_bytes=int(420 * MIB + size.weight_bytes + held + copies * 4 * largest + 2.5 * table),
            disk_bytes=int(graph) + table + 8 * MIB,
            result=ModelSize(parameters=size.parameters, weight_bytes=int(graph) + table),
        )

    def run(self, model: Model, ctx: StageContext) -> None:
        """Build, and keep our own tokenizer and configuration beside the graph."""
        from modelwright_plugins.format.torch_tokenizer import copy_with_fast_tokenizer

        if self.precision == "fp16" and ctx.target.device == "cpu":
            raise RecipeError(
                "The builder makes no fp16 graph for the CPU.",
                where=ctx.where("precision"),
                accepted="fp32, int8, int4",
                hint="or a target with a GPU",
            )
        copy_with_fast_tokenizer(model, ctx.out)
        ctx.progress(1, 2, "building")
        build_graph(
            model.path,
            ctx.out,
            architecture=model.spec.architecture,
            precision=self.precision,
            options=self._options(),
            provider=ctx.target.provider,
            scratch=ctx.scratch("builder"),
            where=ctx.where("use"),
            with_config=True,
        )
        ctx.describe(dtype={"fp32": "float32", "fp16": "float16"}.get(self.precision, self.precision))

    def _bytes_per_weight(self) -> float:
        if self.precision in ("int4", "int8"):
            return BITS[self.precision] / 8 + 4 / self.block_size
        return BITS[self.precision] / 8

    def _options(self) -> dict[str, str | int | bool]:
        options: dict[str, str | int | bool] = {}
        if self.precision in ("int4", "int8"):
            options |= {
                "block_size": self.block_size,
                "accuracy_level": self.accuracy_level,
                "algo_config": self.algorithm,
                "is_symmetric": self.symmetric,
            }
        if self.precision == "int4" and self.keep_int8 != "none":
            placed = ("last_matmul",) if self.keep_int8 == "last" else ("last_matmul", "mixed_layers")
            options["matmul_mixed_precision"] = ",".join(f"{name}:int8" for name in placed)
        if self.shared_embeddings is not None:
            options["shared_embeddings"] = self.shared_embeddings
        return options
