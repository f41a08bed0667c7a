"""The trained model as a checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from modelwright.api.model import Model
from modelwright_plugins.format.checkpoint import describe_checkpoint
from modelwright_plugins.training.context import TrainingContext

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def save_result(student: PreTrainedModel, model: Model, ctx: TrainingContext) -> None:
    """Write a trained model into `ctx.out`, in the type of the model that came in."""
    student.config.use_cache = True
    student.to(getattr(torch, model.spec.dtype))
    student.save_pretrained(ctx.out)
    found = describe_checkpoint(ctx.out, trust_remote_code=model.spec.trust_remote_code)
    if found.generation is not None:  # fewer layers keep fewer keys and values
        ctx.describe(generation=found.generation.model_dump(mode="json"))
