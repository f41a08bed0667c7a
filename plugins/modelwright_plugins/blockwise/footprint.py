"""What walking through a checkpoint block by block needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelwright.api.model import ModelSize
from modelwright.api.stage import MIB, Footprint

if TYPE_CHECKING:
    from modelwright_plugins.blockwise.statistics import Kind


LIBRARIES = 450 * MIB


def blockwise_footprint(size: ModelSize, tokens: int, kind: Kind) -> Footprint:
    """The checkpoint, one block in float32 with its statistics, and the hidden states of `tokens`."""
    shape = size.anatomy.shape if size.anatomy is not None else None
    layers = (shape.layers if shape else None) or 12
    hidden = (shape.hidden if shape else None) or 1024
    inner = (shape.intermediate if shape else None) or 4 * hidden
    block = 4 * size.parameters // layers
    # Hessians in float32, and the largest again: inverted in float64, its factor in float32.
    statistics = 4 * (3 * hidden**2 + inner**2) + 12 * inner**2 if kind == "hessian" else 0
    return Footprint(
        memory_bytes=LIBRARIES + size.weight_bytes + 2 * block + statistics + 8 * tokens * hidden,
        disk_bytes=size.weight_bytes + 2 * MIB,
        result=size,
    )
