"""Cuts a network to the units that stay, in place, and its configuration with it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelwright.errors import RecipeError, StageError
from modelwright_plugins.prune.slicing.axes import WIDTH, Dimension, Dimensions, Kind, Sizes, length
from modelwright_plugins.prune.slicing.families import Family

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Kept:
    """The units that stay, by number in ascending order; those of layers in a list by layer."""

    width: Sequence[int]
    neurons: Sequence[Sequence[int]]
    queries: Sequence[Sequence[int]]
    keys: Sequence[Sequence[int]]

    def of(self, kind: Kind, layer: int | None) -> Sequence[int]:
        """Those of a kind; what several layers share has the first layer's."""
        if kind == "width":
            return self.width
        found: Sequence[Sequence[int]] = getattr(self, kind)
        return found[layer or 0]


def require_known(network: PreTrainedModel, family: Family, sizes: Sizes) -> None:
    """Raise StageError unless every parameter is one of the family's, as long as the sizes say."""
    for name, parameter in network.named_parameters():
        found = family.dimensions(name, parameter.dim())
        if found is None or any(
            dimension and length(dimension, sizes) != size
            for dimension, size in zip(found, parameter.shape, strict=True)
        ):
            raise StageError(
                f"The tensor '{name}' {list(parameter.shape)} is not one that {type(network).__name__} has.",
                where="model.path",
                accepted="a checkpoint of the family as transformers writes it, without adapters",
            )


def require_layers_alike(network: PreTrainedModel, where: str) -> None:
    """Raise RecipeError where a layer computes something else in another place."""
    if getattr(network.config, "scale_attn_by_inverse_layer_idx", False):
        raise RecipeError(
            "This GPT-2 scales attention by the number of the layer, so that none can move up.",
            where=where,
            accepted="neurons or width",
            hint="its configuration says so: scale_attn_by_inverse_layer_idx",
        )


def cut(
    network: PreTrainedModel,
    family: Family,
    before: Sizes,
    after: Sizes,
    kept: Kept,
    energy: Mapping[str, torch.Tensor],
) -> None:
    """Replace each parameter by its part that stays, and write the new sizes into the configuration.

    `energy` holds, by the name of a norm, the share of each channel in the energy that it divides by: a norm
    over fewer channels then gives those that stay what it gave them before, on average. The modules' own
    attributes stay what they were: the network is to be saved, not to be run.
    """
    for name, parameter in network.named_parameters():  # a tied one comes once
        dimensions, layer = family.dimensions(name, parameter.dim()), family.layer_of(name)
        assert dimensions is not None, "require_known comes first"
        parameter.data = _part(parameter.data, dimensions, before, after, kept, layer)
    if after.width < before.width:
        _keep_scale(network, family, before, after, kept, energy)
    config = network.config
    config.hidden_size = after.width
    config.num_attention_heads = after.queries
    setattr(config, family.inner, after.neurons)
    if family.own_head_dim:
        config.num_key_value_heads = after.keys
        config.head_dim = after.head_dim


def norms_of(network: PreTrainedModel, family: Family) -> dict[str, torch.nn.Module]:
    """The norms over the embedding width, by name."""
    return {
        name: module
        for name, module in network.named_modules()
        if hasattr(module, "weight") and family.dimensions(f"{name}.weight", 1) == (WIDTH,)
    }


def _part(
    tensor: torch.Tensor,
    dimensions: Dimensions,
    before: Sizes,
    after: Sizes,
    kept: Kept,
    layer: int | None,
) -> torch.Tensor:
    import torch

    for number, dimension in enumerate(dimensions):
        if length(dimension, before) != length(dimension, after):
            places = _places(dimension, before, kept, layer)
            tensor = tensor.index_select(number, torch.tensor(places, device=tensor.device))
    return tensor.contiguous()


def _places(dimension: Dimension, before: Sizes, kept: Kept, layer: int | None) -> list[int]:
    """The places of a dimension that stay: all of each unit, segment by segment."""
    places: list[int] = []
    start = 0
    for segment in dimension:
        unit = segment.unit(before.head_dim)
        for number in kept.of(segment.kind, layer):
            places += range(start + number * unit, start + (number + 1) * unit)
        start += before.of(segment.kind) * unit
    return places


def _keep_scale(
    network: PreTrainedModel,
    family: Family,
    before: Sizes,
    after: Sizes,
    kept: Kept,
    energy: Mapping[str, torch.Tensor],
) -> None:
    """Make up for what depends on the number of channels: the mean that norms divide by, and a scale."""
    norms = norms_of(network, family)
    factors = dict.fromkeys(norms, 1.0)
    for name, shares in energy.items():
        left = float(shares[list(kept.width)].sum()) * before.width / after.width
        factors[name] = math.sqrt(left)
    if family.scaled_embedding:
        # The model multiplies embeddings by the root of its width; a tied head has them without.
        scale = math.sqrt(before.width / after.width)
        network.get_input_embeddings().weight.data *= scale
        if network.config.tie_word_embeddings and network.get_output_embeddings() is not None:
            factors[next(name for name in norms if family.layer_of(name) is None)] /= scale
    for name, factor in factors.items():
        weight = norms[name].get_parameter("weight")
        weight.data = (weight.data + family.norm_offset) * factor - family.norm_offset
