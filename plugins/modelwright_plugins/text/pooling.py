"""One vector per text from its token vectors (Reimers & Gurevych 2019, Sentence-BERT, §3)."""

from __future__ import annotations

import numpy as np

from modelwright.api.model import Pooling
from modelwright.api.runner import Floats


def pool(tokens: Floats, mask: np.ndarray, pooling: Pooling | None, normalize: bool) -> Floats:
    """Pool token vectors [batch, length, dim] under an attention mask [batch, length] to [batch, dim].

    `mean` averages the tokens that are not padding, `cls` takes the first, `max` the maximum of each
    dimension. `normalize` scales each row to length 1.
    """
    if pooling == "cls":
        pooled = tokens[:, 0]
    elif pooling == "max":
        pooled = np.where(mask[:, :, None] > 0, tokens, -np.inf).max(axis=1)
    else:
        weights = mask.astype(np.float32)
        pooled = np.matmul(weights[:, None, :], tokens)[:, 0]
        pooled /= np.maximum(weights.sum(axis=1, keepdims=True), 1e-9)
    if normalize:
        pooled = pooled / np.maximum(np.linalg.norm(pooled, axis=1, keepdims=True), 1e-12)
    return pooled.astype(np.float32, copy=False)
