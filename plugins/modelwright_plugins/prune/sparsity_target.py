"""How many single weights a stage sets to zero, and of which layers."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Self

from pydantic import Field, model_validator

from modelwright.api.context import StageContext
from modelwright.api.model import ModelSize
from modelwright.api.stage import Stage
from modelwright_plugins.anatomy.block_layers import BlockLayer, block_layers
from modelwright_plugins.prune.pattern import Pattern, numbers, require_whole_groups
from modelwright_plugins.prune.sparsity import with_sparsity

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from modelwright_plugins.blockwise.matrices import Matrix


class SparsityTarget(Stage):
    """A share or n:m, and name patterns of layers."""

    sparsity: float | None = Field(
        None, gt=0, lt=1, description="Share of the weights of the pruned layers set to zero (default: 0.5)."
    )
    pattern: Pattern | None = Field(
        None, description="n:m, such as 2:4: of m neighbouring weights in a row n stay; instead of sparsity."
    )
    include: tuple[str, ...] = Field((), description="Name patterns of the layers to prune; empty: all.")
    exclude: tuple[str, ...] = Field((), description="Name patterns of layers that stay as they are.")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if self.pattern is not None and self.sparsity not in (None, self.share):
            kept, of = numbers(self.pattern)
            raise ValueError(
                f"the pattern {self.pattern} sets {of - kept} of {of} weights to zero; leave out sparsity"
            )
        return self

    @property
    def share(self) -> float:
        """The share of weights that go."""
        if self.pattern is None:
            return 0.5 if self.sparsity is None else self.sparsity
        kept, of = numbers(self.pattern)
        return 1 - kept / of

    def tags_after(self, tags: Collection[str]) -> tuple[str, ...]:
        """Sparse, and by which pattern. Zeros stay zeros, so that an earlier pattern still holds."""
        return with_sparsity(super().tags_after(tags), self.pattern)

    def check_size(self, size: ModelSize) -> None:
        """The pattern fits the layers."""
        if self.pattern is None:
            return
        for layer in self.layers_of(size):
            require_whole_groups(layer.name, layer.inputs, self.pattern, "parameter pattern")

    def layers_of(self, size: ModelSize) -> Iterator[BlockLayer]:
        """The layers of the blocks that the patterns of names leave, as far as they are known."""
        for layer in block_layers(size):
            if (not self.include or layer.matches(self.include)) and not layer.matches(self.exclude):
                yield layer

    def matrices(
        self, network: PreTrainedModel, where: tuple[str, str] = ("include", "exclude")
    ) -> list[Matrix]:
        """The layers to prune, those of the blocks unless `include` names others.

        `where` says where the recipe sets `include` and `exclude`. Raises RecipeError as `chosen` does.
        """
        from modelwright_plugins.blockwise.matrices import blocks_of, matrices_of
        from modelwright_plugins.blockwise.name_patterns import chosen

        every = {matrix.name: matrix for matrix in matrices_of(network)}
        include = self.include or (f"{blocks_of(network)[0]}.*",)
        return [every[name] for name in chosen([*every], include, self.exclude, where)]

    def require_groups(self, matrices: Sequence[Matrix], ctx: StageContext) -> None:
        """Raise RecipeError where a pattern does not fit a layer."""
        if self.pattern is not None:
            for matrix in matrices:
                require_whole_groups(matrix.name, matrix.weight.shape[1], self.pattern, ctx.where("pattern"))
