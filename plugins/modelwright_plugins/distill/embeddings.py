"""Distillation of what an encoder is used for: its sentence embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from modelwright.api.context import StageContext
from modelwright.api.model import Model
from modelwright.errors import RecipeError
from modelwright_plugins.distill.stage import Distillation
from modelwright_plugins.distill.texts import task_examples
from modelwright_plugins.training.context import TrainingContext
from modelwright_plugins.training.example import Example, Examples

if TYPE_CHECKING:
    from modelwright_plugins.distill.outputs import Row, Teach, TeacherOutputs
    from modelwright_plugins.training.objective import Objective


class DistillEmbeddings(
    Distillation,
    name="distill.embeddings",
    takes="torch",
    gives="torch",
    fidelity="retrained",
    tasks=("embed",),
    requires=("torch", "transformers", "accelerate"),
):
    """Train an encoder to give its teacher's sentence embeddings, on queries, passages and pieces of them.

    ::

        distill: {use: distill.embeddings, data: docs, layers: spread 3}
        heal: {use: distill.embeddings, data: docs}          # after pruning; the recipe's model teaches

    No labels are needed (Reimers & Gurevych 2020, arXiv:2004.09813, there across languages). The teacher
    runs over every text once, before training, and its embeddings are kept with the step's checkpoints, or
    in the folder `offline` for other runs, which then do not load it. With `similarity`, cosines between
    the texts of a batch are matched too; that alone is left where teacher and student are of different
    widths. In several processes a batch is then the part that one of them holds.
    """

    distance: Literal["cosine", "mse"] = Field("cosine", description="How far two embeddings are apart.")
    weight: float = Field(1.0, ge=0, description="Weight of that distance in the loss.")
    similarity: float = Field(
        0.0, ge=0, description="Weight of the squared error of cosines between the texts of a batch."
    )
    pieces: float = Field(
        2.0,
        ge=0,
        description="Train on runs of 6, 16, 40 and 100 words as well, of each length as many as cover the "
        "texts so many times; 0: on whole texts only.",
    )
    offline: str | None = Field(
        None, description="Folder to keep the teacher's embeddings in, and to take them from."
    )

    @model_validator(mode="after")
    def _some_loss(self) -> Self:
        if not self.weight + self.similarity:
            raise ValueError("weight and similarity are both 0: nothing is left to train for")
        return self

    def prepare(self, model: Model, ctx: StageContext) -> None:
        """Run the teacher, where its embeddings are not there yet.

        Raises RecipeError where they are not as wide as the student's, and the distance is not left out.
        """
        super().prepare(model, ctx)
        if self.weight:
            _require_same_width(self.teacher_of(model, ctx), model, ctx.where("weight"))
        examples = self._examples(model, ctx)
        outputs = self._outputs(model, ctx, examples)
        digest = outputs.make(lambda: self._teach(model, ctx), ctx)
        ctx.record("teacher_outputs", {"examples": len(examples.train), "digest": digest})

    def objective(self, model: Model, ctx: TrainingContext) -> tuple[Objective, Examples]:
        """The student's distance from the embeddings on disk."""
        from modelwright_plugins.distill.embedding_objective import EmbeddingObjective

        examples = self._examples(model, ctx)
        outputs = self._outputs(model, ctx, examples)
        return EmbeddingObjective(self, self.load_student(model, ctx), model.spec, outputs), examples

    def _examples(self, model: Model, ctx: TrainingContext) -> Examples:
        return task_examples(model, ctx, self.data, pieces=self.pieces, length=model.spec.max_length)

    def _outputs(self, model: Model, ctx: TrainingContext, examples: Examples) -> TeacherOutputs:
        from modelwright_plugins.distill.outputs import TeacherOutputs

        teacher = self.teacher_of(model, ctx)
        folder = Path(self.offline).expanduser() if self.offline else ctx.checkpoint_dir / "teacher"
        pooling = f"{teacher.spec.pooling}, normalize={teacher.spec.normalize}"
        of = {"kind": "embeddings", "teacher": teacher.digest, "pooling": pooling}
        where = ctx.where("offline") if self.offline else None
        return TeacherOutputs(folder, {**of}, examples, where)

    def _teach(self, model: Model, ctx: TrainingContext) -> Teach:
        """The teacher's embeddings of some examples, batched by length."""
        import torch

        from modelwright_plugins.text.torch_pooling import pooled
        from modelwright_plugins.training.batches import by_length
        from modelwright_plugins.training.padded import padded

        torch.set_num_threads(ctx.target.thread_count)
        teacher, spec = self.load_teacher(model, ctx), self.teacher_of(model, ctx).spec

        def teach(examples: Sequence[Example]) -> list[Row]:
            rows: list[Row] = [{}] * len(examples)
            for batch in by_length([len(example.tokens) for example in examples], self.batch_size):
                inputs = padded([examples[index] for index in batch], teacher)
                with torch.inference_mode():
                    hidden = teacher(**inputs).last_hidden_state
                    found = pooled(hidden, inputs["attention_mask"], spec)
                for index, row in zip(batch, found, strict=True):
                    rows[index] = {"embedding": row}
            return rows

        return teach


def _require_same_width(teacher: Model, student: Model, where: str) -> None:
    from modelwright_plugins.format.torch import load_skeleton

    ours, theirs = (load_skeleton(found).config.get_text_config().hidden_size for found in (student, teacher))
    if ours != theirs:
        raise RecipeError(
            f"The student's embeddings are {ours} wide, the teacher's {theirs}: they have no distance.",
            where=where,
            accepted="weight=0 and a similarity above 0, which compares texts with each other",
        )
