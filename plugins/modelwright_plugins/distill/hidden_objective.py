"""A model's distance from what its teacher computes on the way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from modelwright.api.model import ModelSpec
from modelwright.errors import RecipeError
from modelwright_plugins.distill.layer_pairs import require_pairs, uniform_pairs
from modelwright_plugins.distill.losses import distances, soft_cross_entropy
from modelwright_plugins.distill.relations import Projections, relation_distance
from modelwright_plugins.distill.teacher_logits import rows_of
from modelwright_plugins.text.torch_pooling import pooled
from modelwright_plugins.training.context import TrainingContext
from modelwright_plugins.training.example import Example
from modelwright_plugins.training.objective import Objective
from modelwright_plugins.training.padded import padded

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from modelwright_plugins.distill.hidden import DistillHidden

RELATED = ("query", "key", "value")


class HiddenObjective(Objective):
    """The weighted sum of the distances that a `DistillHidden` asks for; every example counts the same.

    `projections` bring the student's hidden states to the teacher's width, where they differ; they are
    trained with it and not saved.
    """

    def __init__(
        self,
        stage: DistillHidden,
        student: PreTrainedModel,
        teacher: PreTrainedModel,
        specs: tuple[ModelSpec, ModelSpec],
        ctx: TrainingContext,
    ) -> None:
        super().__init__(student)
        self._stage, self._specs = stage, specs
        self._teacher = [teacher]  # in a list, so that it is no part of this module
        ours, theirs = (network.config.get_text_config() for network in (student, teacher))
        depths = (ours.num_hidden_layers, theirs.num_hidden_layers)
        self._pairs = stage.pairs or uniform_pairs(*depths)
        require_pairs(self._pairs, *depths, ctx.where("pairs"))
        widths = (ours.hidden_size, theirs.hidden_size)
        self.projections = torch.nn.ModuleList(
            torch.nn.Identity() if widths[0] == widths[1] else torch.nn.Linear(*widths, bias=False)
            for _ in self._pairs
        )
        if stage.embeddings and widths[0] != widths[1]:
            raise RecipeError(
                f"The student's embeddings are {widths[0]} wide, the teacher's {widths[1]}: they have no "
                "distance.",
                where=ctx.where("embeddings"),
                accepted="embeddings=0, or distill.embeddings with a similarity",
            )
        self._heads = stage.relation_heads or ours.num_attention_heads
        self._related = [
            Projections(network, depth, ctx.where("relations"))
            for network, depth in zip((student, teacher), depths, strict=True)
            if stage.relations
        ]
        self._where = ctx.where("relation_heads")

    def forward(self, examples: Sequence[Example]) -> torch.Tensor:
        """The mean over the examples, of what tokens have the mean over each one's tokens."""
        stage, inputs = self._stage, padded(examples, self.student)
        mask = inputs["attention_mask"]
        ours = self.student(**inputs, output_hidden_states=True)
        with torch.no_grad():
            teacher = self._teacher[0]
            theirs = teacher(**padded(examples, teacher), output_hidden_states=True)
        loss = mask.new_zeros((), dtype=torch.float32)
        if stage.weight:
            loss = loss + stage.weight * self._hidden(ours.hidden_states, theirs.hidden_states, mask)
        if stage.relations:
            loss = loss + stage.relations * self._relations(mask)
        if stage.logits:
            loss = loss + stage.logits * soft_cross_entropy(
                rows_of(ours.logits), rows_of(theirs.logits), stage.temperature
            )
        if stage.embeddings:
            student, taught = (
                pooled(found.last_hidden_state, mask, spec)
                for found, spec in zip((ours, theirs), self._specs, strict=True)
            )
            loss = loss + stage.embeddings * distances(student, taught, "cosine").mean()
        return loss

    def _hidden(
        self, ours: Sequence[torch.Tensor], theirs: Sequence[torch.Tensor], mask: torch.Tensor
    ) -> torch.Tensor:
        """The mean of all pairs."""
        found = [
            distances(project(ours[one]).float(), theirs[other].float(), self._stage.distance)
            for project, (one, other) in zip(self.projections, self._pairs, strict=True)
        ]
        by_token = torch.stack(found).mean(0) * mask
        return (by_token.sum(1) / mask.sum(1)).mean()

    def _relations(self, mask: torch.Tensor) -> torch.Tensor:
        """The mean of queries, keys and values in both models' last layers."""
        ours, theirs = (found.last for found in self._related)
        found = []
        for kind in RELATED:
            self._require_heads(ours[kind].shape[-1], theirs[kind].shape[-1])
            found.append(relation_distance(ours[kind], theirs[kind], self._heads, mask))
        return torch.stack(found).mean()

    def _require_heads(self, *widths: int) -> None:
        for width in widths:
            if width % self._heads:
                raise RecipeError(
                    f"{self._heads} relation heads do not divide a projection of width {width}.",
                    where=self._where,
                    accepted="a divisor of the widths of queries, keys and values in both models",
                )
