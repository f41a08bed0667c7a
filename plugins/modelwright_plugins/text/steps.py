"""What a step of generation takes beside its tokens: the mask of all that was read, and positions in it."""

from __future__ import annotations

import numpy as np

from modelwright.api.runner import Tokens


def positions(mask: Tokens, last: int) -> Tokens:
    """Positions of the last columns of a mask [batch, length]; padding on the left is not counted."""
    return np.maximum(mask.cumsum(axis=1) - 1, 0)[:, -last:]


def append_tokens(mask: Tokens, tokens: Tokens) -> tuple[Tokens, Tokens]:
    """Tokens [batch] as a column [batch, 1], and the mask with that column counted in."""
    column = np.asarray(tokens, np.int64)[:, None]
    return column, np.concatenate([mask, np.ones_like(column)], axis=1)
