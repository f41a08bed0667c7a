"""The table of rotary angles, which graphs with fused rotary embedding store for every position."""

from __future__ import annotations

from modelwright.api.model import ModelSize


def angle_table_bytes(size: ModelSize) -> int:
    """Bytes of float32 cosines and sines, each [context length, head size / 2]; 0 where not known."""
    shape = size.anatomy.shape if size.anatomy is not None else None
    if shape is None or shape.context_length is None or shape.head_dim is None:
        return 0
    return 4 * shape.context_length * shape.head_dim
