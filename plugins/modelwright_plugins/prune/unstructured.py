"""What stages have in common that set single weights to zero."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from modelwright.api.context import StageContext
from modelwright_plugins.prune.sparsity_target import SparsityTarget

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from modelwright_plugins.blockwise.matrices import Matrix


class UnstructuredPruning(SparsityTarget, target_fields=("device", "threads")):
    """One target, and what a report shows of it."""

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
