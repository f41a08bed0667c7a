"""A teacher's logits: as it runs, or the largest of them from disk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import torch

from modelwright_plugins.distill.outputs import Row, Teach, TeacherOutputs
from modelwright_plugins.training.batches import by_length
from modelwright_plugins.training.example import Example
from modelwright_plugins.training.padded import padded

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class TeacherLogits(Protocol):
    """Logits [rows, classes] of a batch, or with their indices [rows, k] those of k classes each.

    Rows are the examples of a classifier; of a language model every token of every example but the last.
    """

    def __call__(
        self, examples: Sequence[Example], inputs: dict[str, torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Logits and indices; `inputs` are the examples as tensors."""
        ...


class RunningTeacher:
    """The teacher itself."""

    def __init__(self, teacher: PreTrainedModel) -> None:
        self._teacher = teacher

    def __call__(
        self, examples: Sequence[Example], inputs: dict[str, torch.Tensor]
    ) -> tuple[torch.Tensor, None]:
        """All classes."""
        with torch.no_grad():
            return rows_of(self._teacher(**padded(examples, self._teacher)).logits), None


class KeptLogits:
    """What `kept_logits` gave, from disk."""

    def __init__(self, outputs: TeacherOutputs) -> None:
        self._outputs = outputs

    def __call__(
        self, examples: Sequence[Example], inputs: dict[str, torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The classes kept."""
        rows = self._outputs.rows(examples)
        device = inputs["input_ids"].device
        logits = torch.cat([row["logits"] for row in rows]).to(device)
        return logits, torch.cat([row["indices"] for row in rows]).to(device, torch.int64)


def kept_logits(teacher: PreTrainedModel, top_k: int, batch_size: int) -> Teach:
    """For each example the `top_k` largest logits of its rows, float32, and their classes, int32."""

    def teach(examples: Sequence[Example]) -> list[Row]:
        found: list[Row] = [{}] * len(examples)
        for batch in by_length([len(example.tokens) for example in examples], batch_size):
            inputs = padded([examples[index] for index in batch], teacher)
            with torch.inference_mode():
                logits = teacher(**inputs).logits.float()
                values, indices = logits.topk(min(top_k, logits.shape[-1]), dim=-1)
            for place, index in enumerate(batch):
                found[index] = {
                    "logits": rows_of(values[place : place + 1]),
                    "indices": rows_of(indices[place : place + 1]).to(torch.int32),
                }
        return found

    return teach


def rows_of(logits: torch.Tensor) -> torch.Tensor:
    """[examples, classes] as it is; [examples, tokens, classes] without each last token, as rows."""
    return logits if logits.dim() == 2 else logits[:, :-1].flatten(0, 1)
