"""Layers taken out of a model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from modelwright_plugins.blockwise.matrices import blocks_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def keep_layers(network: PreTrainedModel, kept: Sequence[int]) -> None:
    """Take all but some layers out of a model, in place; its configuration says so, for each layer too.

    The result loads with `from_pretrained`. Raises RecipeError where the layers are not one list.
    """
    import torch

    name, blocks = blocks_of(network)
    count = len(blocks)
    layers = torch.nn.ModuleList(blocks[index] for index in kept)
    for place, layer in enumerate(layers):
        for module in layer.modules():
            if hasattr(module, "layer_idx"):  # its place in the cache
                module.layer_idx = place  # type: ignore[assignment]
    parent, _, last = name.rpartition(".")
    setattr(network.get_submodule(parent), last, layers)
    config = network.config.get_text_config()
    for key, value in config.to_dict().items():
        # What a configuration lists by layer, such as layer_types.
        if isinstance(value, list) and len(value) == count and re.search("layer|mlp|attention|rope", key):
            setattr(config, key, [value[index] for index in kept])
    config.num_hidden_layers = len(layers)
