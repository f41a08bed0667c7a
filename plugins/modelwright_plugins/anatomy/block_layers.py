"""The linear layers of a transformer's blocks, known before a weight is read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from modelwright.api.model import ModelSize
from modelwright_plugins.blockwise.name_patterns import matches

# One of a list of blocks, and what lies in it.
IN_BLOCK = re.compile(r"\.\d+\.")
# What chooses a token's experts: a parameter in transformers, and no layer.
ROUTER = ".gate"


class BlockLayer(NamedTuple):
    """A layer by its dotted name, with the sizes of its weight."""

    name: str
    outputs: int
    inputs: int

    def matches(self, patterns: tuple[str, ...]) -> bool:
        """Whether its name does, or that without its first part, which transformers leaves off encoders."""
        return matches(self.name, patterns) or matches(self.name.partition(".")[2], patterns)


def block_layers(size: ModelSize) -> Iterator[BlockLayer]:
    """The layers in the order in which they run; none of an architecture that is not known."""
    known = size.anatomy is not None and size.anatomy.shape.hidden is not None
    for module in size.anatomy.modules if size.anatomy is not None and known else ():
        if not IN_BLOCK.search(module.path) or module.path.endswith(ROUTER):
            continue
        for tensor in module.tensors:
            if (tensor.name, tensor.group, len(tensor.shape)) == ("weight", "linear", 2):
                yield BlockLayer(module.path, tensor.elements // tensor.inputs, tensor.inputs)
