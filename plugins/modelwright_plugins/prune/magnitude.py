"""Pruning by the size of the weights alone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from modelwright.api.context import StageContext
from modelwright.api.model import Model, ModelSize
from modelwright.api.stage import MIB, Footprint
from modelwright.errors import RecipeError
from modelwright_plugins.prune.pattern import lowest_of_groups
from modelwright_plugins.prune.unstructured import UnstructuredPruning, sparsity_of

if TYPE_CHECKING:
    import torch

    from modelwright_plugins.blockwise.matrices import Matrix


class PruneMagnitude(
    UnstructuredPruning,
    name="prune.magnitude",
    takes="torch",
    gives="torch",
    fidelity="approximate",
    requires=("torch", "transformers", "accelerate"),
):
    """Zero the weights of least magnitude; no data are needed.

    ::

        prune: {use: prune.magnitude, sparsity: 0.5}
        prune: {use: prune.magnitude, sparsity: 0.7, scope: global, exclude: ["*.0.*"]}
        prune: {use: prune.magnitude, pattern: "2:4"}
        prune: {use: prune.magnitude, sparsity: 0.5, block: [4, 1], norm: l2}

    Layers are the linear ones of the transformer's blocks; a pattern of `include` that names others (an
    output head, a pooler) takes those. With `block`, tiles of [outputs, inputs] go as one, by the norm of
    their weights. Zeros that are there stay and count. Method: Han et al. 2015, arXiv:1506.02626.
    """

    scope: Literal["layer", "global"] = Field(
        "layer", description="Each layer loses the same share, or all together by one threshold."
    )
    block: tuple[PositiveInt, PositiveInt] = Field(
        (1, 1), description="Tile of outputs x inputs that goes as one."
    )
    norm: Literal["l1", "l2"] = Field(
        "l1", description="What a tile is judged by: the mean of |w|, or the root mean of w²."
    )

    @model_validator(mode="after")
    def _pattern_alone(self) -> Self:
        if self.pattern is not None and self.changed("scope", "block", "norm"):
            raise ValueError("a pattern judges single weights within a row: leave out scope, block and norm")
        return self

    def check_size(self, size: ModelSize) -> None:
        """The tiles fit the layers, too."""
        super().check_size(size)
        for layer in self.layers_of(size):
            self._require_tiles(layer.name, layer.outputs, layer.inputs, "parameter block")

    def footprint(self, size: ModelSize) -> Footprint:
        """The checkpoint, and the scores of its largest layer."""
        return Footprint(
            memory_bytes=410 * MIB + size.weight_bytes + size.weight_bytes // 8,
            disk_bytes=size.weight_bytes + 2 * MIB,
            result=size,
        )

    def run(self, model: Model, ctx: StageContext) -> None:
        """Load, zero, save."""
        from modelwright_plugins.format.torch import load_checkpoint
        from modelwright_plugins.format.torch_tokenizer import copy_with_fast_tokenizer

        copy_with_fast_tokenizer(model, ctx.out)
        network = load_checkpoint(model)
        matrices = self.matrices(network, (ctx.where("include"), ctx.where("exclude")))
        self.require_groups(matrices, ctx)
        for matrix in matrices:
            outputs, inputs = matrix.weight.shape
            self._require_tiles(matrix.name, outputs, inputs, ctx.where("block"))
        before = {matrix.name: sparsity_of(matrix) for matrix in matrices}
        self.zero(matrices)
        network.save_pretrained(ctx.out)
        self.report(ctx, network, before, matrices)

    def zero(self, matrices: Sequence[Matrix]) -> None:
        """Set the weights that go to zero, in place."""
        if self.pattern is not None:
            for matrix in matrices:
                weight = matrix.weight
                weight.masked_fill_(lowest_of_groups(weight.abs().float(), self.pattern), 0.0)
        elif self.scope == "layer":
            for matrix in matrices:
                self._zero_lowest([matrix])
        else:
            self._zero_lowest(matrices)

    def _zero_lowest(self, matrices: Sequence[Matrix]) -> None:
        """One threshold for all; of tiles that equal it, the first go."""
        from modelwright_plugins.prune.lowest import lowest_of_all

        height, width = self.block
        scores = partial(map, self._scores, [matrix.weight for matrix in matrices])
        for matrix, gone in zip(matrices, lowest_of_all(scores, self.share), strict=True):
            tiles = gone.repeat_interleave(height, 0).repeat_interleave(width, 1)
            matrix.weight.masked_fill_(tiles, 0.0)

    def _scores(self, weight: torch.Tensor) -> torch.Tensor:
        """The norm of each tile, divided by the number of its weights."""
        magnitudes = weight.abs().float()
        if self.block == (1, 1):
            return magnitudes
        height, width = self.block
        outputs, inputs = weight.shape
        tiles = magnitudes.reshape(outputs // height, height, inputs // width, width)
        return tiles.mean((1, 3)) if self.norm == "l1" else tiles.square().mean((1, 3)).sqrt()

    def _require_tiles(self, name: str, outputs: int, inputs: int, where: str) -> None:
        height, width = self.block
        if outputs % height or inputs % width:
            raise RecipeError(
                f"'{name}' has {outputs:,} outputs and {inputs:,} inputs, no whole number of tiles of "
                f"{height} x {width}.",
                where=where,
                accepted="a tile whose sides divide those of every layer that is pruned",
                hint=f"another block, or leave the layer out: exclude=[{name}]",
            )
