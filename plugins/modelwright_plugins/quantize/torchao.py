"""Weights in 8 bits by torchao, as a checkpoint that `from_pretrained` loads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from modelwright.api.context import StageContext
from modelwright.api.model import Model, ModelSize
from modelwright.api.stage import MIB, Footprint, Stage

if TYPE_CHECKING:
    from transformers import TorchAoConfig

    from modelwright_plugins.blockwise.matrices import Matrix

BITS = 8


class QuantizeTorchAO(
    Stage,
    name="quantize.torchao",
    takes="torch",
    gives="torchao",
    fidelity="approximate",
    target_fields=("device", "threads"),
    adds=("int8", "quantized"),
    requires=("torch", "transformers", "accelerate", "torchao"),
):
    """Store the linear layers in 8 bits, symmetric, with a scale for each output.

    ::

        quantize: {use: quantize.torchao}
        quantize: {use: quantize.torchao, kind: dynamic, skip: ["*.down_proj"]}

    `weight_only` computes in floating point, and reads less memory for it. `dynamic` rounds the activations
    of each token to 8 bits as they come and multiplies integers: faster where a pass has many tokens, slower
    where it has one, by how much depends on the machine. Gate the speed that is wanted. Embeddings, norms,
    biases and the output head stay in floating point; the record `kept_in_float` says what did and why.
    """

    kind: Literal["weight_only", "dynamic"] = Field(
        "weight_only", description="Whether activations are rounded to 8 bits, too."
    )
    skip: tuple[str, ...] = Field((), description="Patterns (fnmatch) of layers that stay in float.")

    def footprint(self, size: ModelSize) -> Footprint:
        """The checkpoint, mapped as it is, a little of it in copies, and beside it the result."""
        linear = size.anatomy.groups["linear"] if size.anatomy else size.parameters
        stored = int(linear * 1.01 + size.weight_bytes * (1 - linear / size.parameters))
        return Footprint(
            memory_bytes=420 * MIB + int(1.15 * size.weight_bytes) + stored,
            disk_bytes=stored + 2 * MIB,
            result=ModelSize(parameters=size.parameters, weight_bytes=stored),
        )

    def run(self, model: Model, ctx: StageContext) -> None:
        """Choose the layers, load through torchao, save."""
        from modelwright_plugins.format.safetensors_metadata import sort_metadata
        from modelwright_plugins.format.torch import load_checkpoint
        from modelwright_plugins.format.torch_device import require_device
        from modelwright_plugins.format.torch_tokenizer import copy_with_fast_tokenizer
        from modelwright_plugins.format.torchao import TorchAO
        from modelwright_plugins.format.weight_files import weight_files
        from modelwright_plugins.quantize.checkpoint_report import report_quantized
        from modelwright_plugins.quantize.linear_layers import linear_layers

        require_device(ctx.target)
        layers = linear_layers(model, self.skip, _unfit, ctx)
        copy_with_fast_tokenizer(model, ctx.out)
        settings = self._settings(layers.skipped)
        network = load_checkpoint(model, device_map=ctx.target.device, quantization=settings)
        network.save_pretrained(ctx.out)
        for file in weight_files(ctx.out):
            sort_metadata(file)
        ctx.describe(dtype="int8", details=dict(model.spec.details))
        report_quantized(ctx, model, TorchAO(), layers, BITS)

    def _settings(self, skip: list[str]) -> TorchAoConfig:
        from torchao.quantization import Int8DynamicActivationInt8WeightConfig, Int8WeightOnlyConfig
        from transformers import TorchAoConfig

        # The other setting is for torch.compile, and process-wide.
        scheme = (
            Int8WeightOnlyConfig(set_inductor_config=False)
            if self.kind == "weight_only"
            else Int8DynamicActivationInt8WeightConfig(set_inductor_config=False)
        )
        return TorchAoConfig(scheme, modules_to_not_convert=skip)


def _unfit(matrix: Matrix) -> str | None:
    """Torchao takes `nn.Linear` alone, not the transposed layers of GPT-2."""
    import torch

    return None if isinstance(matrix.module, torch.nn.Linear) else "no torch.nn.Linear"
