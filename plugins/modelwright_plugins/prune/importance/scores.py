"""Scores of what can go, and the units that stay by them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from modelwright_plugins.prune.slicing.axes import Sizes
from modelwright_plugins.prune.slicing.cut import Kept

if TYPE_CHECKING:
    import torch


@dataclass
class Scores:
    """The importance of each unit, which adds up over units; float32 on the CPU.

    `width` has the shape [width], `neurons` [layers, neurons], `queries` [layers, query heads], `keys`
    [layers, key-value heads]. `energy` holds, by the name of a norm, the share of each channel [width] in
    the energy of what enters it; empty where that is not known.
    """

    width: torch.Tensor
    neurons: torch.Tensor
    queries: torch.Tensor
    keys: torch.Tensor
    energy: dict[str, torch.Tensor] = field(default_factory=dict)

    def heads_as_one(self) -> None:
        """Give each layer the same scores of heads: the sum over layers, each as a share of its own."""
        for name in ("queries", "keys"):
            scores = getattr(self, name)
            shares = scores / scores.sum(1, keepdim=True).clamp_min(1e-30)
            setattr(self, name, shares.sum(0).expand_as(scores))

    def groups(self, sizes: Sizes) -> torch.Tensor:
        """The importance of a key-value head with its query heads, [layers, key-value heads]."""
        return self.queries.unflatten(1, (sizes.keys, sizes.group)).sum(2) + self.keys


def kept_units(scores: Scores, before: Sizes, after: Sizes) -> Kept:
    """The most important units of each layer; of equals the first."""
    groups = highest(scores.groups(before), after.keys)
    each = highest(scores.queries.unflatten(1, (before.keys, before.group)), after.group)
    queries = [
        [group * before.group + head for group in chosen for head in each[layer][group]]
        for layer, chosen in enumerate(groups)
    ]
    neurons = highest(scores.neurons, after.neurons)
    return Kept(highest(scores.width, after.width), neurons, queries, groups)


def highest(scores: torch.Tensor, count: int) -> Any:
    """Numbers of the `count` highest of the last dimension, in order; of equals the first."""
    ranked = scores.argsort(dim=-1, descending=True, stable=True)
    return ranked[..., :count].sort(dim=-1).values.tolist()
