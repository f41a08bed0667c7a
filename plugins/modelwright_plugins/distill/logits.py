"""Distillation of the distribution that a model predicts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Self

from pydantic import Field, model_validator

from modelwright.api.context import StageContext
from modelwright.api.model import Model
from modelwright_plugins.distill.labels import require_labelled
from modelwright_plugins.distill.stage import Distillation
from modelwright_plugins.distill.texts import task_examples
from modelwright_plugins.training.context import TrainingContext
from modelwright_plugins.training.example import Examples

if TYPE_CHECKING:
    from modelwright_plugins.distill.outputs import TeacherOutputs
    from modelwright_plugins.training.objective import Objective


class DistillLogits(
    Distillation,
    name="distill.logits",
    takes="torch",
    gives="torch",
    fidelity="retrained",
    tasks=("classify", "generate"),
    requires=("torch", "transformers", "accelerate"),
):
    """Train a language model or a classifier to predict what its teacher predicts, softened.

    ::

        distill: {use: distill.logits, data: docs, layers: every 2, temperature: 2, alpha: 0.5}
        heal: {use: distill.logits, data: docs, alpha: 1}    # after pruning; the recipe's model teaches

    The loss is alpha x KL(teacher || student) x T² + (1 - alpha) x cross-entropy of the labels, which are
    the next tokens or the column `label` (Hinton et al. 2015, arXiv:1503.02531). A language model is trained
    on windows of `length` tokens of the running text. With `top_k` the teacher runs over every example once,
    before training, and its k largest logits are kept, with the step's checkpoints or in the folder
    `offline` for other runs; it gives the rest no chance then.
    """

    temperature: float = Field(2.0, gt=0, description="What both models' logits are divided by.")
    alpha: float = Field(0.5, ge=0, le=1, description="Weight of the teacher against the labels.")
    length: int = Field(128, ge=8, description="Tokens of a window, for a model that generates.")
    top_k: int | None = Field(None, ge=1, description="Logits of the teacher to keep for each token.")
    offline: str | None = Field(
        None, description="Folder to keep those in, and to take them from; needs top_k."
    )

    @model_validator(mode="after")
    def _offline_needs_top_k(self) -> Self:
        if self.offline is not None and self.top_k is None:
            raise ValueError("offline needs top_k: how many of the teacher's logits to keep for each token")
        return self

    def matches_logits(self) -> bool:
        """Always."""
        return True

    def prepare(self, model: Model, ctx: StageContext) -> None:
        """Run the teacher, where its logits are to be kept."""
        from modelwright_plugins.distill.teacher_logits import kept_logits

        super().prepare(model, ctx)
        if self.top_k is not None:
            examples = self._examples(model, ctx)
            outputs = self._outputs(model, ctx, examples)
            top_k, batch_size = self.top_k, self.batch_size
            digest = outputs.make(lambda: kept_logits(self.load_teacher(model, ctx), top_k, batch_size), ctx)
            ctx.record("teacher_outputs", {"examples": len(examples.train), "digest": digest})

    def objective(self, model: Model, ctx: TrainingContext) -> tuple[Objective, Examples]:
        """The student's distance from the teacher's logits and from the labels."""
        from modelwright_plugins.distill.logits_objective import LogitsObjective
        from modelwright_plugins.distill.teacher_logits import KeptLogits, RunningTeacher, TeacherLogits

        examples = self._examples(model, ctx)
        teacher: TeacherLogits
        if self.top_k is None:
            teacher = RunningTeacher(self.load_teacher(model, ctx))
        else:
            teacher = KeptLogits(self._outputs(model, ctx, examples))
        student = self.load_student(model, ctx)
        return LogitsObjective(student, teacher, self.temperature, self.alpha), examples

    def _examples(self, model: Model, ctx: TrainingContext) -> Examples:
        examples = task_examples(model, ctx, self.data, pieces=0, length=self.length)
        if model.spec.task == "classify" and self.alpha < 1:
            require_labelled(examples, model, ctx)
        return examples

    def _outputs(self, model: Model, ctx: TrainingContext, examples: Examples) -> TeacherOutputs:
        from modelwright_plugins.distill.outputs import TeacherOutputs

        folder = Path(self.offline).expanduser() if self.offline else ctx.checkpoint_dir / "teacher"
        of = {"kind": "logits", "teacher": self.teacher_of(model, ctx).digest, "top_k": self.top_k}
        where = ctx.where("offline") if self.offline else None
        return TeacherOutputs(folder, {**of}, examples, where)
