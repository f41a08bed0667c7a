"""What the teacher of a classifier and its texts have to be labelled with."""

from __future__ import annotations

from modelwright.api.model import Model, ModelSpec
from modelwright.errors import RecipeError
from modelwright_plugins.training.context import TrainingContext
from modelwright_plugins.training.example import Examples


def require_same_labels(teacher: ModelSpec, student: ModelSpec, where: str) -> None:
    """Raise RecipeError where two classifiers tell other labels apart."""
    if teacher.labels != student.labels:
        raise RecipeError(
            f"The teacher tells {', '.join(teacher.labels)} apart, the student {', '.join(student.labels)}.",
            where=where,
            accepted="a teacher with the student's labels, in the same order",
        )


def require_labelled(examples: Examples, model: Model, ctx: TrainingContext) -> None:
    """Raise RecipeError where a text has no label that the classifier knows."""
    without = sum(example.label is None for example in (*examples.train, *examples.held_out))
    if without:
        raise RecipeError(
            f"{without:,} texts have no label that the model knows.",
            where=ctx.where("data"),
            accepted=f"a column 'label' with {', '.join(model.spec.labels)}",
            hint="alpha=1 trains on the teacher alone and needs no labels",
        )
