"""An encoder's distance from its teacher's sentence embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from modelwright.api.model import ModelSpec
from modelwright.errors import RecipeError
from modelwright_plugins.distill.batch import padded
from modelwright_plugins.distill.losses import distance, similarity_distance
from modelwright_plugins.distill.outputs import TeacherOutputs
from modelwright_plugins.text.torch_pooling import pooled
from modelwright_plugins.training.context import TrainingContext
from modelwright_plugins.training.example import Example
from modelwright_plugins.training.objective import Objective

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from modelwright_plugins.distill.embeddings import DistillEmbeddings


class EmbeddingObjective(Objective):
    """Mean over texts of the distance between pooled embeddings [texts, width] of student and teacher.

    Raises RecipeError where their widths differ and the distance is not left out.
    """

    def __init__(
        self,
        stage: DistillEmbeddings,
        student: PreTrainedModel,
        spec: ModelSpec,
        outputs: TeacherOutputs,
        ctx: TrainingContext,
    ) -> None:
        super().__init__(student)
        self._stage, self._spec, self._outputs = stage, spec, outputs
        self._where = ctx.where("weight")

    def forward(self, examples: Sequence[Example]) -> torch.Tensor:
        """The weighted sum of both distances."""
        inputs = padded(examples, self.device)
        hidden = self.student(**inputs).last_hidden_state
        ours = pooled(hidden, inputs["attention_mask"], self._spec)
        theirs = torch.stack([row["embedding"] for row in self._outputs.rows(examples)]).to(ours.device)
        loss = ours.new_zeros(())
        if self._stage.weight:
            self._require_width(ours.shape[1], theirs.shape[1])
            loss = loss + self._stage.weight * distance(ours, theirs, self._stage.distance)
        if self._stage.similarity:
            loss = loss + self._stage.similarity * similarity_distance(ours, theirs)
        return loss

    def _require_width(self, ours: int, theirs: int) -> None:
        if ours != theirs:
            raise RecipeError(
                f"The student's embeddings are {ours} wide, the teacher's {theirs}: they have no distance.",
                where=self._where,
                accepted="weight=0 and a similarity above 0, which compares texts with each other",
            )
