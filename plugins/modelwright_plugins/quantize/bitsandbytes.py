"""Weights in 8 or 4 bits by bitsandbytes, as a checkpoint that `from_pretrained` loads."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from modelwright.api.context import StageContext
from modelwright.api.model import Model, ModelSize
from modelwright.api.stage import MIB, Footprint, Stage
from modelwright.errors import StageError

if TYPE_CHECKING:
    from transformers import BitsAndBytesConfig, PreTrainedModel

    from modelwright_plugins.blockwise.matrices import Matrix

DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
# The weights that share a scale in 4 bits, and the outputs that the kernel for CPUs takes at once.
BLOCK, OUTPUTS = 64, 32


class QuantizeBitsAndBytes(
    Stage,
    name="quantize.bitsandbytes",
    takes="torch",
    gives="bitsandbytes",
    fidelity="approximate",
    target_fields=("device", "threads"),
    adds=("quantized",),
    requires=("torch", "transformers", "accelerate", "bitsandbytes"),
):
    """Store the linear layers in 8 bits (LLM.int8) or 4 (NF4, FP4); transformers loads the result by itself.

    ::

        quantize: {use: quantize.bitsandbytes}
        quantize: {use: quantize.bitsandbytes, kind: nf4, double_quantization: true, compute_dtype: bf16}
        quantize: {use: quantize.bitsandbytes, kind: int8, threshold: 6.0, skip: ["*.down_proj"]}

    `int8` keeps a scale for each output and rounds activations to 8 bits as they come, but for the inputs
    that hold a value of `threshold` or more, which are multiplied in 16-bit floats (Dettmers et al. 2022,
    arXiv:2208.07339). `nf4` and `fp4` keep a scale for each 64 weights and compute in `compute_dtype`
    (Dettmers et al. 2023, arXiv:2305.14314); `double_quantization` stores those scales in 8 bits.

    Embeddings, norms, biases and the output head stay in floating point, and so do layers that the 4-bit
    kernel for CPUs cannot take: their outputs have to be a multiple of 32, their inputs of 64. The record
    `kept_in_float` lists them. On CPUs with AVX512-BF16 that kernel computes in bfloat16 whatever
    `compute_dtype` says. Raises MissingError where bitsandbytes has no library for this machine.
    """

    kind: Literal["int8", "nf4", "fp4"] = Field("nf4", description="How weights are stored.")
    threshold: float = Field(
        6.0, ge=0, description="Of int8: activations that large stay in 16 bits; 0 is none."
    )
    double_quantization: bool = Field(False, description="Of nf4 and fp4: the scales are quantized, too.")
    compute_dtype: Literal["fp32", "bf16", "fp16"] | None = Field(
        None, description="Of nf4 and fp4: the type of products; the model's own where none is given."
    )
    skip: tuple[str, ...] = Field((), description="Patterns (fnmatch) of layers that stay in float.")

    @model_validator(mode="after")
    def _consistent(self) -> QuantizeBitsAndBytes:
        others = ("double_quantization", "compute_dtype") if self.kind == "int8" else ("threshold",)
        if idle := self.changed(*others):
            owner = "nf4 and fp4" if self.kind == "int8" else "int8"
            raise ValueError(f"{idle[0]} is of kind {owner}, and the kind is {self.kind}")
        return self

    @property
    def bits(self) -> int:
        """Bits of a weight, without its share of a scale."""
        return 8 if self.kind == "int8" else 4

    def added_tags(self) -> Collection[str]:
        """`int8`, or `int4` with the name of the grid."""
        return (*self.adds, *(("int8",) if self.kind == "int8" else ("int4", self.kind)))

    def footprint(self, size: ModelSize) -> Footprint:
        """The checkpoint, mapped as it is, a little of it in copies, and beside it the result."""
        stored = self._stored(size)
        return Footprint(
            memory_bytes=450 * MIB + int(1.1 * size.weight_bytes) + stored,
            disk_bytes=stored + 2 * MIB,
            result=ModelSize(parameters=size.parameters, weight_bytes=stored),
        )

    def _stored(self, size: ModelSize) -> int:
        """Bytes of the result: of linear layers codes and scales, of the rest what it takes now."""
        linear = size.anatomy.groups["linear"] if size.anatomy else size.parameters
        scales = 0.05 if self.kind == "int8" else (8.25 if self.double_quantization else 32) / BLOCK
        rest = size.weight_bytes * (1 - linear / size.parameters)
        return int(linear * (self.bits + scales) / 8 + rest)

    def run(self, model: Model, ctx: StageContext) -> None:
        """Choose the layers, load through bitsandbytes and save before a forward pass could repack them."""
        from modelwright_plugins.format.bitsandbytes import BitsAndBytes, require_library
        from modelwright_plugins.format.torch import load_checkpoint
        from modelwright_plugins.format.torch_device import require_device
        from modelwright_plugins.format.torch_tokenizer import copy_with_fast_tokenizer
        from modelwright_plugins.quantize.checkpoint_report import report_quantized
        from modelwright_plugins.quantize.linear_layers import linear_layers

        require_device(ctx.target)
        require_library()
        layers = linear_layers(model, self.skip, self._unfit, ctx)
        copy_with_fast_tokenizer(model, ctx.out)
        settings = self._settings(layers.skipped, model.spec.dtype)
        network = load_checkpoint(model, device_map=ctx.target.device, quantization=settings)
        if self.kind == "int8":
            require_finite_scales(network, ctx.where("kind"))
        network.save_pretrained(ctx.out)
        ctx.describe(dtype=self.kind, details=dict(model.spec.details))
        report_quantized(ctx, model, BitsAndBytes(), layers, self.bits)

    def _settings(self, skip: list[str], dtype: str) -> BitsAndBytesConfig:
        from transformers import BitsAndBytesConfig

        if self.kind == "int8":
            return BitsAndBytesConfig(
                load_in_8bit=True, llm_int8_threshold=self.threshold, llm_int8_skip_modules=skip
            )
        return BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type=self.kind,
            bnb_4bit_use_double_quant=self.double_quantization,
            bnb_4bit_compute_dtype=DTYPES[self.compute_dtype] if self.compute_dtype else dtype,
            llm_int8_skip_modules=skip,
        )

    def _unfit(self, matrix: Matrix) -> str | None:
        """Why a layer cannot be stored in 4 bits so that every device runs it."""
        outputs, inputs = matrix.weight.shape
        if self.kind == "int8" or (outputs % OUTPUTS == 0 and inputs % BLOCK == 0):
            return None
        return (
            f"{outputs:,} outputs and {inputs:,} inputs; {self.kind} on a CPU takes multiples of {OUTPUTS} "
            f"outputs and {BLOCK} inputs"
        )


def require_finite_scales(network: PreTrainedModel, where: str) -> None:
    """Raise StageError for a layer with weights beyond float16, through which bitsandbytes takes them."""
    import torch

    for name, parameter in network.named_parameters():
        scales = getattr(parameter, "SCB", None)
        if scales is not None and not torch.isfinite(scales).all():
            raise StageError(
                f"'{name}' has weights beyond 65,504, the largest float16, in which bitsandbytes reads them.",
                where=where,
                accepted="nf4 or fp4, or weights within that range",
                hint=f"leave the layer in float: skip=[{name.removesuffix('.weight')}]",
            )
