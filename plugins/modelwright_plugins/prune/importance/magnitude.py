"""Importance by the weights alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelwright_plugins.prune.importance.scores import Scores
from modelwright_plugins.prune.slicing.axes import Kind, Sizes
from modelwright_plugins.prune.slicing.families import Family

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


def magnitudes(network: PreTrainedModel, family: Family, sizes: Sizes) -> Scores:
    """The sum of squares of all weights of a unit (the square of its L2 norm)."""
    import torch

    found: dict[Kind, torch.Tensor] = {
        "width": torch.zeros(1, sizes.width),
        "neurons": torch.zeros(sizes.layers, sizes.neurons),
        "queries": torch.zeros(sizes.layers, sizes.queries),
        "keys": torch.zeros(sizes.layers, sizes.keys),
    }
    for name, parameter in network.named_parameters():
        squares = parameter.detach().float().square().cpu()
        layer = family.layer_of(name)
        for number, dimension in enumerate(family.dimensions(name, parameter.dim()) or ()):
            sums = squares.sum(1 - number) if squares.dim() == 2 else squares
            start = 0
            for segment in dimension:
                unit, count = segment.unit(sizes.head_dim), sizes.of(segment.kind)
                energy = sums[start : start + count * unit].reshape(count, unit).sum(1)
                rows = found[segment.kind]
                if segment.kind == "width":
                    rows[0] += energy
                elif layer is None:  # what layers share counts for each
                    rows += energy
                else:
                    rows[layer] += energy
                start += count * unit
    return Scores(found["width"][0], found["neurons"], found["queries"], found["keys"])
