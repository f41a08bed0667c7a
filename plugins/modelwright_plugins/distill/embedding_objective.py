"""An encoder's distance from its teacher's sentence embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from modelwright.api.model import ModelSpec
from modelwright_plugins.distill.losses import distances, similarity_distance
from modelwright_plugins.distill.outputs import TeacherOutputs
from modelwright_plugins.text.torch_pooling import pooled
from modelwright_plugins.training.example import Example
from modelwright_plugins.training.objective import Objective
from modelwright_plugins.training.padded import padded

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from modelwright_plugins.distill.embeddings import DistillEmbeddings


class EmbeddingObjective(Objective):
    """Mean over texts of the distance between pooled embeddings [texts, width] of student and teacher."""

    def __init__(
        self,
        stage: DistillEmbeddings,
        student: PreTrainedModel,
        spec: ModelSpec,
        outputs: TeacherOutputs,
    ) -> None:
        super().__init__(student)
        self._stage, self._spec, self._outputs = stage, spec, outputs

    def forward(self, examples: Sequence[Example]) -> torch.Tensor:
        """The weighted sum of both distances."""
        inputs = padded(examples, self.student)
        hidden = self.student(**inputs).last_hidden_state
        ours = pooled(hidden, inputs["attention_mask"], self._spec)
        theirs = torch.stack([row["embedding"] for row in self._outputs.rows(examples)]).to(ours.device)
        loss = ours.new_zeros(())
        if self._stage.weight:
            loss = loss + self._stage.weight * distances(ours, theirs, self._stage.distance).mean()
        if self._stage.similarity:
            loss = loss + self._stage.similarity * similarity_distance(ours, theirs)
        return loss
