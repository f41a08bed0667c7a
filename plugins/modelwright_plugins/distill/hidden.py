"""Distillation of what a model computes on the way: hidden states and relations of attention."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from modelwright.api.model import Model, ModelSize, ModelSpec
from modelwright.errors import RecipeError
from modelwright_plugins.distill.layer_pairs import Pairs, require_pairs
from modelwright_plugins.distill.layers import choose_layers
from modelwright_plugins.distill.stage import INCOMING, Distillation
from modelwright_plugins.distill.texts import task_examples
from modelwright_plugins.training.context import TrainingContext
from modelwright_plugins.training.example import Examples

if TYPE_CHECKING:
    from modelwright_plugins.training.objective import Objective


class DistillHidden(
    Distillation,
    name="distill.hidden",
    takes="torch",
    gives="torch",
    fidelity="retrained",
    requires=("torch", "transformers", "accelerate"),
):
    """Train a model to compute its teacher's hidden states, and with weights more of what it does.

    ::

        distill: {use: distill.hidden, data: docs, layers: spread 3}
        distill: {use: distill.hidden, data: docs, layers: every 2, pairs: [[3, 6]], embeddings: 1}
        distill: {use: distill.hidden, data: docs, weight: 0, relations: 1, logits: 1}

    The loss is the weighted sum of: the distance of hidden states, token by token, averaged over `pairs` of
    layers (Jiao et al. 2020, arXiv:1909.10351), through a learned projection where the student is
    narrower, which is thrown away afterwards; the `relations` of queries, keys and values in the last layers
    (Wang et al. 2021, arXiv:2012.15828); and what the task gives: `logits` softened by `temperature`, or the
    cosine distance of sentence `embeddings`. The teacher runs beside the student.
    """

    pairs: Pairs | None = Field(
        None, description="[student, teacher] layers, 0 the embedding; null: evenly over the depth."
    )
    distance: Literal["mse", "cosine"] = Field("mse", description="How far two hidden states are apart.")
    weight: float = Field(1.0, ge=0, description="Weight of that distance.")
    relations: float = Field(0.0, ge=0, description="Weight of the relations of attention.")
    relation_heads: int | None = Field(
        None, ge=1, description="Heads that those are cut into; null: the student's attention heads."
    )
    logits: float = Field(0.0, ge=0, description="Weight of the softened logits (classify, generate).")
    temperature: float = Field(2.0, gt=0, description="What both models' logits are divided by.")
    embeddings: float = Field(0.0, ge=0, description="Weight of the sentence embeddings' distance (embed).")
    pieces: float = Field(
        2.0, ge=0, description="For task embed: as in distill.embeddings, how often pieces cover the texts."
    )
    length: int = Field(128, ge=8, description="Tokens of a window, for a model that generates.")

    @model_validator(mode="after")
    def _some_loss(self) -> Self:
        if not self.weight + self.relations + self.logits + self.embeddings:
            raise ValueError("weight, relations, logits and embeddings are all 0: nothing to train for")
        return self

    def check(self, spec: ModelSpec) -> None:
        """What the task does not have cannot be matched."""
        super().check(spec)
        refused = "logits" if spec.task == "embed" else "embeddings"
        if getattr(self, refused):
            raise RecipeError(
                f"A model of task {spec.task} has no {refused} to match.",
                where=f"parameter {refused}",
                accepted=f"{refused}=0",
            )

    def check_size(self, size: ModelSize) -> None:
        """Student and teacher have the layers of the pairs, as far as their depth is known."""
        super().check_size(size)
        whole = size.anatomy.shape.layers if size.anatomy is not None else None
        if self.pairs is not None and whole:
            depth = whole
            if self.layers is not None:
                depth = len(choose_layers(self.layers, depth, "parameter layers"))
            teacher = whole if self.teacher == INCOMING else None
            require_pairs(self.pairs, depth, teacher, "parameter pairs")

    def matches_logits(self) -> bool:
        """Where they have a weight."""
        return self.logits > 0

    def objective(self, model: Model, ctx: TrainingContext) -> tuple[Objective, Examples]:
        """The student's distance from the teacher that runs beside it."""
        from modelwright_plugins.distill.hidden_objective import HiddenObjective

        examples = task_examples(model, ctx, self.data, pieces=self.pieces, length=self.length)
        student, teacher = self.load_student(model, ctx), self.load_teacher(model, ctx)
        specs = (model.spec, self.teacher_of(model, ctx).spec)
        return HiddenObjective(self, student, teacher, specs, ctx), examples
