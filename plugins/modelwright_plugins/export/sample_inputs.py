"""Inputs to trace an encoder with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from modelwright_plugins.text.tokenize import TextTokenizer

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

# Two texts of different length: a batch of one would be traced as a constant, and so would a full mask.
TEXTS = ("The first of two short texts.", "The second one is longer, so that the first is padded.")


def sample_inputs(folder: Path, max_length: int, model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """A padded batch of two with the inputs `forward` names; tensors of shape [2, length]."""
    import inspect

    import torch

    names = inspect.signature(model.forward).parameters
    arrays = TextTokenizer(folder, max_length)(TEXTS)
    return {name: torch.from_numpy(array) for name, array in arrays.items() if name in names}
