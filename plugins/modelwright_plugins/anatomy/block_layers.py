"""The linear layers of a transformer's blocks, known before a weight is read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from modelwright.api.model import ModelSize

# One of a list of blocks, and what lies in it.
IN_BLOCK = re.compile(r"\.\d+\.")


class BlockLayer(NamedTuple):
    """A layer by its dotted name, with the sizes of its weight."""

    name: str
    outputs: int
    inputs: int


def block_layers(size: ModelSize) -> Iterator[BlockLayer]:
    """The layers in the order in which they run; none where the model's parts are not known."""
    for module in size.anatomy.modules if size.anatomy is not None else ():
        for tensor in module.tensors:
            if (tensor.name, tensor.group) == ("weight", "linear") and IN_BLOCK.search(module.path):
                yield BlockLayer(module.path, tensor.elements // tensor.inputs, tensor.inputs)
