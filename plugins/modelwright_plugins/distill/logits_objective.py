"""A model's distance from what its teacher predicts, and from the labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from modelwright_plugins.distill.losses import soft_cross_entropy
from modelwright_plugins.distill.teacher_logits import TeacherLogits, rows_of
from modelwright_plugins.training.example import Example
from modelwright_plugins.training.objective import Objective
from modelwright_plugins.training.padded import padded

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class LogitsObjective(Objective):
    """alpha x KL(teacher || student) x T² + (1 - alpha) x cross-entropy, by token or by text.

    The windows of a language model are all of one length, so that nothing is padded.
    """

    def __init__(
        self, student: PreTrainedModel, teacher: TeacherLogits, temperature: float, alpha: float
    ) -> None:
        super().__init__(student)
        self._teacher = teacher
        self._temperature, self._alpha = temperature, alpha

    def forward(self, examples: Sequence[Example]) -> torch.Tensor:
        """The mean of all rows."""
        inputs = padded(examples, self.student)
        logits = self.student(**inputs).logits
        ours = rows_of(logits).float()
        loss = ours.new_zeros(())
        if self._alpha:
            theirs, indices = self._teacher(examples, inputs)
            loss = loss + self._alpha * soft_cross_entropy(ours, theirs, self._temperature, indices)
        if self._alpha < 1:
            targets = _labels(examples, ours.device) if logits.dim() == 2 else inputs["input_ids"][:, 1:]
            loss = loss + (1 - self._alpha) * functional.cross_entropy(ours, targets.flatten())
        return loss


def _labels(examples: Sequence[Example], device: torch.device) -> torch.Tensor:
    return torch.tensor([example.label for example in examples], device=device)
