"""Change the floating-point type of the weights."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from modelwright.api.context import StageContext
from modelwright.api.model import Model, ModelSize
from modelwright.api.stage import MIB, Footprint, Stage
from modelwright.errors import StageError

NAMES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


class CastDtype(
    Stage,
    name="cast.dtype",
    takes="torch",
    gives="torch",
    fidelity="approximate",
    target_fields=(),
    requires=("torch", "transformers"),
):
    """Store a checkpoint in another floating-point type.

    ::

        cast: {use: cast.dtype, dtype: bf16}

    bf16 has the range of fp32 with 8 bits of precision; fp16 has 11 bits and overflows past 65,504 (IEEE
    754 binary16). Raises StageError when a weight would overflow.
    """

    dtype: Literal["fp32", "bf16", "fp16"] = Field(description="The type to store the weights in.")

    def dtype_after(self, dtype: str) -> str:
        """The one asked for."""
        return NAMES[self.dtype]

    def footprint(self, size: ModelSize) -> Footprint:
        """The checkpoint, mapped as it is, and beside it the result, unless that is the same."""
        stored = size.parameters * (4 if self.dtype == "fp32" else 2)
        converted = 0 if stored == size.weight_bytes else stored
        return Footprint(
            memory_bytes=410 * MIB + size.weight_bytes + converted,
            disk_bytes=stored + 2 * MIB,
            result=ModelSize(parameters=size.parameters, weight_bytes=stored),
        )

    def run(self, model: Model, ctx: StageContext) -> None:
        """Load in the new type, check for overflow, save."""
        import torch

        from modelwright_plugins.format.torch import load_checkpoint
        from modelwright_plugins.format.torch_tokenizer import copy_with_fast_tokenizer

        copy_with_fast_tokenizer(model, ctx.out)
        checkpoint = load_checkpoint(model, dtype=NAMES[self.dtype])
        for name, parameter in checkpoint.named_parameters():
            if not torch.isfinite(parameter).all():
                raise StageError(
                    f"The weight '{name}' does not fit into {self.dtype}: it would become infinite.",
                    where=ctx.where("dtype"),
                    accepted="bf16, whose range is that of fp32",
                )
        checkpoint.save_pretrained(ctx.out)
        ctx.describe(dtype=NAMES[self.dtype])
