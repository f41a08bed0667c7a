"""Outputs that a metric could judge."""

from __future__ import annotations

import numpy as np

from modelwright.api.runner import Floats
from modelwright.errors import StageError


def require_finite(rows: Floats, format_: str, dtype: str, what: str = "texts") -> None:
    """Raise StageError when rows of outputs, one for each of `what`, hold NaN or infinity."""
    bad = int((~np.isfinite(rows).all(axis=1)).sum())
    if bad:
        raise StageError(
            f"The model gives NaN or infinity for {bad:,} of {len(rows):,} {what}.",
            where=f"the {format_} model ({dtype})",
            accepted="outputs that are finite",
            hint="fp16 overflows past 65,504, where bf16 and fp32 do not; check the weights as well",
        )
