"""How the tokens of a text relate to each other in a layer's attention."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from modelwright.errors import RecipeError
from modelwright_plugins.blockwise.matrices import blocks_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# What families call the three projections.
NAMES = (("query", "key", "value"), ("q_proj", "k_proj", "v_proj"), ("q_lin", "k_lin", "v_lin"))


class Projections:
    """Queries, keys and values [batch, length, width] of one layer, as the model's last pass made them.

    Raises RecipeError where a layer does not have them apart.
    """

    def __init__(self, network: PreTrainedModel, layer: int, where: str) -> None:
        self.last: dict[str, torch.Tensor] = {}
        block = blocks_of(network)[1][layer - 1]
        modules = {name.rpartition(".")[2]: module for name, module in block.named_modules()}
        names = next((names for names in NAMES if {*names} <= {*modules}), None)
        if names is None:
            raise RecipeError(
                f"The attention of {type(network).__name__} has no projections of queries, keys and values "
                "apart.",
                where=where,
                accepted=f"layers named {'; '.join(', '.join(names) for names in NAMES)}",
                hint="leave out relations",
            )
        for kind, name in zip(NAMES[0], names, strict=True):
            modules[name].register_forward_hook(self._keep(kind))

    def _keep(self, kind: str) -> Any:
        def keep(module: torch.nn.Module, inputs: object, output: torch.Tensor) -> None:
            self.last[kind] = output

        return keep


def relation_distance(
    student: torch.Tensor, teacher: torch.Tensor, heads: int, mask: torch.Tensor
) -> torch.Tensor:
    """KL(teacher || student) of softmax(A Aᵀ / √d) over the tokens of each text; mean of all.

    A are vectors [batch, length, width] cut into `heads`, whose widths d may differ (Wang et al. 2021,
    MiniLMv2, arXiv:2012.15828). `mask` [batch, length] is 0 at padding.
    """
    ours, theirs = (_relations(vectors.float(), heads, mask) for vectors in (student, teacher))
    divergence = (theirs.exp() * (theirs - ours)).masked_fill(mask[:, None, None, :] == 0, 0.0).sum(-1)
    by_token = divergence.mean(1) * mask
    return (by_token.sum(1) / mask.sum(1)).mean()


def _relations(vectors: torch.Tensor, heads: int, mask: torch.Tensor) -> torch.Tensor:
    batch, length, width = vectors.shape
    cut = vectors.view(batch, length, heads, width // heads).transpose(1, 2)
    scores = cut @ cut.transpose(2, 3) / (width // heads) ** 0.5
    # Finite, so that a difference of two masked places is no NaN.
    scores = scores.masked_fill(mask[:, None, None, :] == 0, -1e9)
    return functional.log_softmax(scores, dim=-1)
