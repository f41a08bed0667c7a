"""What training makes small."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from modelwright_plugins.training.example import Example

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Objective(torch.nn.Module):
    """The model that is trained, beside modules that are trained with it and then thrown away.

    ::

        class NextToken(Objective):
            def forward(self, examples):
                ids = torch.tensor([example.tokens for example in examples], device=self.device)
                return self.student(input_ids=ids, labels=ids).loss

    A teacher is kept outside of the module, so that neither optimizer nor checkpoint sees it.
    """

    def __init__(self, student: PreTrainedModel) -> None:
        super().__init__()
        self.student = student

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.student.parameters()).device

    def weight(self, example: Example) -> int:
        """How much an example counts: 1, or the tokens that are predicted where the loss is by token."""
        return 1

    @abstractmethod
    def forward(self, examples: Sequence[Example]) -> torch.Tensor:
        """The mean loss of examples, by their weight."""
