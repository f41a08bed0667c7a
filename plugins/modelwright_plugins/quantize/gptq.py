"""Weights in 2 to 8 bits by GPTQ, as a checkpoint that transformers and vLLM load."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, JsonValue, model_validator

from modelwright.api.context import StageContext
from modelwright.api.model import Model, ModelSize
from modelwright.api.stage import MIB, Footprint
from modelwright.errors import RecipeError
from modelwright_plugins.anatomy.block_layers import block_layers
from modelwright_plugins.prune.sparsity import SPARSE
from modelwright_plugins.text.calibration_fields import CalibrationFields

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from modelwright_plugins.blockwise.matrices import Matrix
    from modelwright_plugins.blockwise.rounding import Codes, Scheme
    from modelwright_plugins.blockwise.walk import Block
    from modelwright_plugins.quantize.packed_checkpoint import PackedCheckpoint


class QuantizeGPTQ(
    CalibrationFields,
    name="quantize.gptq",
    takes="torch",
    gives="compressed_tensors",
    fidelity="approximate",
    target_fields=("device", "threads"),
    adds=("quantized",),
    requires=("torch", "transformers", "accelerate", "compressed-tensors"),
):
    """Round weights column by column, each error made up for by the columns that follow.

    ::

        quantize: {use: quantize.gptq, data: docs, bits: 4, group_size: 128}
        quantize: {use: quantize.gptq, data: docs, bits: 2, group_size: 32, symmetric: false, act_order: true}
        quantize: {use: quantize.gptq, method: rtn, bits: 8, group_size: null}

    Layers are those of the transformer's blocks, one block after the other, each calibrated behind the
    quantized ones before it. Each `group_size` inputs of an output share a scale (and, unless symmetric, a
    zero point): the one of least squared error, each input weighted with its energy. `act_order` takes
    inputs of greatest energy first, on grids that are fixed beforehand, so that what runs it need not know
    of it. Zeros of a sparse model stay. `rtn` rounds to nearest, to compare with. Raises StageError where a
    Hessian has no inverse. Method: Frantar et al. 2023, arXiv:2210.17323.
    """

    bits: Literal[2, 3, 4, 8] = Field(4, description="Bits of a weight, without its share of a scale.")
    group_size: int | None = Field(
        128, ge=8, description="Inputs that share a scale, dividing those of every layer; null: all."
    )
    symmetric: bool = Field(True, description="No zero points; false: one for each scale.")
    act_order: bool = Field(False, description="Inputs of greatest energy first; grids are static then.")
    static_groups: bool = Field(
        False, description="Grids from the weights as they were; false: as corrected."
    )
    damping: float = Field(
        0.01, gt=0, lt=1, description="Added to the Hessian's diagonal, as a share of its mean."
    )
    method: Literal["gptq", "rtn"] = Field("gptq", description="GPTQ, or rounding to nearest.")
    data: str | None = Field(None, description="The data set to calibrate on; GPTQ needs one.")
    skip: tuple[str, ...] = Field((), description="Patterns (fnmatch) of layers that stay in float.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.method == "gptq" and self.data is None:
            raise ValueError("gptq calibrates on data: say data, the name of a data set of the recipe")
        if self.method == "rtn" and (
            idle := self.changed(
                "data", "split", "samples", "length", "act_order", "static_groups", "damping"
            )
        ):
            raise ValueError(f"{idle[0]} is of gptq; rtn rounds each weight by itself")
        return self

    def added_tags(self) -> Collection[str]:
        """Also how many bits."""
        return (*self.adds, f"int{self.bits}")

    def check_size(self, size: ModelSize) -> None:
        """A row of each layer is a whole number of groups."""
        for layer in block_layers(size):
            if not layer.matches(self.skip):
                self._require_groups(layer.name, layer.inputs, "parameter group_size")

    def footprint(self, size: ModelSize) -> Footprint:
        """What the walk needs, and the result beside it."""
        from modelwright_plugins.blockwise.footprint import LIBRARIES, blockwise_footprint

        linear = size.anatomy.groups["linear"] if size.anatomy else size.parameters
        scale = 16 * (1 if self.symmetric else 1 + self.bits / 16) / (self.group_size or 512)
        stored = int(linear * (self.bits + scale) / 8 + size.weight_bytes * (1 - linear / size.parameters))
        tokens = self.calibration_tokens(size) if self.method == "gptq" else 0
        walked = blockwise_footprint(size, tokens, "hessian" if tokens else "energy")
        return Footprint(
            memory_bytes=max(walked.memory_bytes, LIBRARIES + size.weight_bytes + stored),
            disk_bytes=2 * stored + 2 * MIB,
            result=ModelSize(parameters=size.parameters, weight_bytes=stored),
        )

    def run(self, model: Model, ctx: StageContext) -> None:
        """Choose the layers, calibrate and round each block, then write packed weights."""
        import torch

        from modelwright_plugins.blockwise.matrices import blocks_of
        from modelwright_plugins.blockwise.rounding import Scheme
        from modelwright_plugins.format.compressed_tensors import CompressedTensors
        from modelwright_plugins.format.torch import load_checkpoint
        from modelwright_plugins.format.torch_device import require_device
        from modelwright_plugins.format.torch_tokenizer import copy_with_fast_tokenizer
        from modelwright_plugins.quantize.checkpoint_report import report_quantized
        from modelwright_plugins.quantize.linear_layers import linear_layers
        from modelwright_plugins.quantize.packed_checkpoint import PackedCheckpoint

        require_device(ctx.target)
        network = load_checkpoint(model)
        prefix, blocks = blocks_of(network)
        layers = linear_layers(model, self.skip, partial(self._unfit, f"{prefix}."), ctx)
        for name in layers.taken:
            self._require_groups(name, network.get_submodule(name).in_features, ctx.where("group_size"))
        copy_with_fast_tokenizer(model, ctx.out)
        scheme = Scheme(self.bits, self.group_size, self.symmetric, getattr(torch, model.spec.dtype))
        packed = PackedCheckpoint(network, scheme, ctx.scratch("packed"), act_order=self.act_order)
        rows: list[JsonValue] = []
        for number, block in enumerate(self._blocks(network, model, ctx)):
            ctx.progress(number, len(blocks), block.name)
            matrices = [matrix for matrix in block.matrices if matrix.name in layers.taken]
            rows += self._quantize_block(block, matrices, scheme, packed, SPARSE in model.spec.tags, ctx)
        packed.save(ctx.out, kept=layers.skipped)
        ctx.describe(dtype=f"int{self.bits}", details=dict(model.spec.details))
        report_quantized(ctx, model, CompressedTensors(), layers, self.bits)
        if self.method == "gptq":
            ctx.record("errors", rows)

    def _blocks(self, network: PreTrainedModel, model: Model, ctx: StageContext) -> Iterator[Block]:
        """Blocks with what enters them; rounding to nearest needs no data."""
        from modelwright_plugins.blockwise.walk import walk
        from modelwright_plugins.text.calibration import calibration_batches

        batches = (
            calibration_batches(model, ctx, self.data, self.split, self.samples, self.length)
            if self.data
            else []
        )
        return walk(network, batches, ctx.target.device)

    def _quantize_block(
        self,
        block: Block,
        matrices: Sequence[Matrix],
        scheme: Scheme,
        packed: PackedCheckpoint,
        sparse: bool,
        ctx: StageContext,
    ) -> list[JsonValue]:
        """Add the codes of a block's matrices; the errors of each. Hessians are not held beyond."""
        from modelwright_plugins.blockwise.statistics import input_statistics

        found = input_statistics(block, matrices, "hessian") if self.method == "gptq" and matrices else {}
        rows: list[JsonValue] = []
        for matrix in matrices:
            zeros = matrix.weight == 0 if sparse else None
            codes, errors = self._quantize(matrix, found.pop(matrix.name, None), scheme, zeros, ctx)
            packed.add(matrix.name, codes)
            rows.append({"layer": matrix.name, **errors})
        return rows

    def _quantize(
        self,
        matrix: Matrix,
        hessian: torch.Tensor | None,
        scheme: Scheme,
        zeros: torch.Tensor | None,
        ctx: StageContext,
    ) -> tuple[Codes, dict[str, float]]:
        """A matrix's codes; its weights become what they stand for.

        Also the squared error of its outputs as a share of the squared outputs, beside that of rounding each
        weight by itself.
        """
        import torch

        from modelwright_plugins.blockwise.rounding import Rounding, round_to_nearest
        from modelwright_plugins.blockwise.second_order import solve

        weight = matrix.weight
        if hessian is None:
            codes = round_to_nearest(weight, torch.ones(weight.shape[1], device=weight.device), scheme)
            weight.copy_(codes.decode())
            return codes, {}
        energy = hessian.diagonal()
        importance = (energy / energy.mean().clamp_min(1e-30)).clamp_min(1e-6)
        order = energy.argsort(descending=True, stable=True) if self.act_order else None
        rounding = Rounding(weight, importance, scheme, order=order, static=self.static_groups, zeros=zeros)
        outputs = max(float(((weight @ hessian) * weight).sum()), 1e-30)
        change = rounding.codes.decode() - weight
        nearest = float(((change @ hessian) * change).sum())
        error = solve(
            weight,
            hessian,
            rounding,
            damping=self.damping,
            where=ctx.where("damping"),
            span=scheme.span(),
            order=order,
        )
        return rounding.codes, {"error": error / outputs, "error_rounded_to_nearest": nearest / outputs}

    def _require_groups(self, name: str, inputs: int, where: str) -> None:
        if self.group_size is not None and inputs % self.group_size:
            raise RecipeError(
                f"The {inputs:,} inputs of '{name}' are no multiple of {self.group_size}.",
                where=where,
                accepted="a group_size that divides the inputs of every layer, or null",
                hint=f"another group_size, or leave the layer in float: skip=[{name}]",
            )

    def _unfit(self, prefix: str, matrix: Matrix) -> str | None:
        """Why a layer cannot be taken."""
        import torch

        if not matrix.name.startswith(prefix):
            return "outside the transformer's blocks"
        if not isinstance(matrix.module, torch.nn.Linear):
            return f"a {type(matrix.module).__name__}, which compressed-tensors does not take"
        return None
