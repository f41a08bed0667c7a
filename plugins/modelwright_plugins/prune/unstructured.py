"""What stages have in common that set single weights to zero."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Self

from pydantic import Field, model_validator

from modelwright.api.context import StageContext
from modelwright.api.stage import Stage
from modelwright_plugins.prune.pattern import Pattern, numbers, require_whole_groups
from modelwright_plugins.prune.sparsity import with_sparsity

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from modelwright_plugins.blockwise.matrices import Matrix


class UnstructuredPruning(Stage):
    """How many weights go, and of which layers."""

    sparsity: float | None = Field(
        None, gt=0, lt=1, description="Share of the weights of each layer set to zero (default: 0.5)."
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

    def require_groups(self, matrices: Sequence[Matrix], ctx: StageContext) -> None:
        """Raise StageError where a pattern does not fit a layer."""
        if self.pattern is not None:
            for matrix in matrices:
                require_whole_groups(matrix.name, matrix.weight.shape[1], self.pattern, ctx.where("pattern"))

    def report(
        self,
        ctx: StageContext,
        network: PreTrainedModel,
        before: Mapping[str, float],
        matrices: Sequence[Matrix],
        **columns: Mapping[str, float],
    ) -> None:
        """Record sparsity by layer and in all; `before` is what each layer's was, `columns` more of each."""
        rows = [
            {
                "layer": matrix.name,
                "weights": matrix.weight.numel(),
                "sparsity_before": before[matrix.name],
                "sparsity": sparsity_of(matrix),
                **{key: found[matrix.name] for key, found in columns.items()},
            }
            for matrix in matrices
        ]
        zeros = sum(int((matrix.weight == 0).sum()) for matrix in matrices)
        parameters = sum(parameter.numel() for parameter in network.parameters())
        ctx.record("layers", rows)  # type: ignore[arg-type]
        ctx.record(
            "sparsity",
            {
                "of_pruned_layers": zeros / sum(matrix.weight.numel() for matrix in matrices),
                "of_all_parameters": zeros / parameters,
                "speed": "none is claimed: no kernel here uses single zeros; the files compress better",
            },
        )


def sparsity_of(matrix: Matrix) -> float:
    """The share of zeros."""
    return int((matrix.weight == 0).sum()) / matrix.weight.numel()
