"""Pruning block by block, judged by what calibration data make of the weights."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from modelwright.api.context import StageContext
from modelwright.api.model import Model, ModelSize
from modelwright.api.stage import Footprint
from modelwright_plugins.prune.unstructured import UnstructuredPruning, sparsity_of
from modelwright_plugins.text.calibration_fields import CalibrationFields

if TYPE_CHECKING:
    import torch

    from modelwright_plugins.blockwise.matrices import Matrix
    from modelwright_plugins.blockwise.statistics import Kind
    from modelwright_plugins.blockwise.walk import Block


class CalibratedPruning(CalibrationFields, UnstructuredPruning):
    """The calibration data, and the walk from block to block."""

    statistics: ClassVar[Kind] = "energy"

    data: str = Field(description="The data set to calibrate on.")

    @abstractmethod
    def prune(self, weight: torch.Tensor, statistics: torch.Tensor, ctx: StageContext) -> float:
        """Prune [outputs, inputs] in place; the relative squared error of its outputs on calibration data.

        Zeros stay zeros.
        """

    def _prune_block(self, block: Block, matrices: Sequence[Matrix], ctx: StageContext) -> dict[str, float]:
        """The error of each matrix; its statistics are not held beyond."""
        from modelwright_plugins.blockwise.statistics import input_statistics

        found = input_statistics(block, matrices, self.statistics) if matrices else {}
        return {matrix.name: self.prune(matrix.weight, found.pop(matrix.name), ctx) for matrix in matrices}

    def footprint(self, size: ModelSize) -> Footprint:
        """The checkpoint, a block of it in float32, its statistics and activations."""
        from modelwright_plugins.blockwise.footprint import blockwise_footprint

        return blockwise_footprint(size, self.calibration_tokens(size), self.statistics)

    def run(self, model: Model, ctx: StageContext) -> None:
        """Calibrate and prune each block, then save."""
        from modelwright_plugins.blockwise.matrices import blocks_of, matrices_of
        from modelwright_plugins.blockwise.name_patterns import chosen
        from modelwright_plugins.blockwise.walk import walk
        from modelwright_plugins.format.torch import load_checkpoint
        from modelwright_plugins.format.torch_device import require_device
        from modelwright_plugins.format.torch_tokenizer import copy_with_fast_tokenizer
        from modelwright_plugins.text.calibration import calibration_batches

        require_device(ctx.target)
        copy_with_fast_tokenizer(model, ctx.out)
        batches = calibration_batches(model, ctx, self.data, self.split, self.samples, self.length)
        network = load_checkpoint(model)
        prefix, blocks = blocks_of(network)
        every = {matrix.name: matrix for matrix in matrices_of(blocks, prefix)}
        where = (ctx.where("include"), ctx.where("exclude"))
        names = chosen([*every], self.include, self.exclude, where)
        self.require_groups([every[name] for name in names], ctx)
        before = {name: sparsity_of(every[name]) for name in names}
        errors: dict[str, float] = {}
        for number, block in enumerate(walk(network, batches, ctx.target.device)):
            ctx.progress(number, len(blocks), block.name)
            matrices = [matrix for matrix in block.matrices if matrix.name in before]
            errors |= self._prune_block(block, matrices, ctx)
        network.save_pretrained(ctx.out)
        self.report(ctx, network, before, [every[name] for name in names], error=errors)
