"""What recipes say of the data that a stage calibrates on."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from modelwright.api.model import ModelSize
from modelwright.api.stage import Stage


class CalibrationFields(Stage):
    """Pieces of a split; which data set they are of is a field of each stage, since some can do without.

    The test split is for judging alone.
    """

    split: Literal["calibration", "train", "validation"] = Field(
        "calibration", description="The split of the data set."
    )
    samples: int = Field(128, ge=1, description="Pieces of it: windows of tokens, or texts of an encoder.")
    length: int = Field(512, ge=8, description="Tokens of a window, for a model that generates.")

    def calibration_tokens(self, size: ModelSize) -> int:
        """Tokens of all pieces together, none longer than the model's context."""
        context = size.anatomy.shape.context_length if size.anatomy is not None else None
        return self.samples * min(self.length, context or self.length)
