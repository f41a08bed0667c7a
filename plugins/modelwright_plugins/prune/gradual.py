"""Pruning little by little while the model is trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from modelwright.api.context import StageContext
from modelwright.api.model import Model, ModelSpec
from modelwright.errors import RecipeError
from modelwright_plugins.distill.embeddings import DistillEmbeddings
from modelwright_plugins.distill.logits import DistillLogits
from modelwright_plugins.distill.stage import Distillation
from modelwright_plugins.prune.sparsity_schedule import SparsitySchedule
from modelwright_plugins.prune.sparsity_target import SparsityTarget
from modelwright_plugins.training.context import TrainingContext
from modelwright_plugins.training.example import Examples

if TYPE_CHECKING:
    from modelwright_plugins.training.hook import Hook
    from modelwright_plugins.training.objective import Objective


class PruneGradual(
    SparsityTarget,
    Distillation,
    name="prune.gradual",
    takes="torch",
    gives="torch",
    fidelity="retrained",
    requires=("torch", "transformers", "accelerate"),
):
    """Zero weights step by step under a schedule while the rest is trained to make up for them.

    ::

        prune: {use: prune.gradual, data: docs, sparsity: 0.5, end: 300, every: 20, steps: 600}
        prune: {use: prune.gradual, data: docs, pattern: "2:4", criterion: wanda, end: 300, steps: 600}

    Sparsity rises from `initial` after step `begin` to its last value after step `end`, by
    1 - (1 - progress)^power, all at once with `power` 0; the steps that are left train what stays. Language
    models and classifiers learn as in distill.logits, encoders as in distill.embeddings; the recipe's model
    teaches. Masks hold through the optimizer. `magnitude` zeroes the smallest weights; `wanda` weighs them
    with the inputs that training shows them, row by row. Methods: Zhu & Gupta 2017, arXiv:1710.01878;
    Sun et al. 2024, arXiv:2306.11695.
    """

    initial: float = Field(0.0, ge=0, lt=1, description="Sparsity after step `begin`.")
    begin: int = Field(0, ge=0, description="The step after which the first weights go; 0: before training.")
    end: int = Field(ge=1, description="The step after which no more go.")
    every: int = Field(20, ge=1, description="Steps between changes.")
    power: float = Field(3.0, ge=0, description="Of the schedule: 3 is cubic, 1 linear, 0 all at once.")
    criterion: Literal["magnitude", "wanda"] = Field("magnitude", description="Which weights go.")
    scope: Literal["layer", "global"] = Field(
        "layer", description="Each layer loses the same share, or all together by one threshold."
    )
    alpha: float = Field(0.5, ge=0, le=1, description="Weight of the teacher against the labels.")
    temperature: float = Field(2.0, gt=0, description="What logits are divided by.")
    length: int = Field(128, ge=8, description="Tokens of a window, for a model that generates.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.scope == "global" and (self.pattern is not None or self.criterion == "wanda"):
            raise ValueError("a pattern and wanda judge weights within a row: scope has to be layer")
        if self.criterion == "wanda" and not self.begin and (self.initial or not self.power):
            raise ValueError("wanda weighs inputs that training shows it: begin has to be 1 or more")
        if not self.begin < self.end:
            raise ValueError(f"begin {self.begin} is not before end {self.end}")
        if self.steps is not None and self.steps < self.end:
            raise ValueError(f"end {self.end} is after the last of {self.steps} steps")
        if self.initial > self.share:
            raise ValueError(f"initial {self.initial} is more than the sparsity to reach, {self.share}")
        return self

    def check(self, spec: ModelSpec) -> None:
        """An encoder learns from embeddings alone."""
        super().check(spec)
        if spec.task == "embed" and (idle := self.changed("alpha", "temperature", "length")):
            raise RecipeError(
                f"{idle[0]} is of models that predict logits, and this one's task is embed.",
                where=f"parameter {idle[0]}",
                accepted=f"no {idle[0]}",
            )

    def best_from(self) -> int:
        """Only weights that are as sparse as asked for are kept."""
        return self.end

    def planned_steps(self, examples: Examples, ctx: TrainingContext) -> int:
        """Steps unless it stops early. Raises RecipeError where they end before the schedule does."""
        steps = super().planned_steps(examples, ctx)
        if steps < self.end:
            raise RecipeError(
                f"The schedule ends at step {self.end:,}, and training takes {steps:,}.",
                where=ctx.where("end"),
                accepted=f"1 to {steps:,}",
                hint="more steps or epochs, or an earlier end",
            )
        return steps

    def prepare(self, model: Model, ctx: StageContext) -> None:
        """Find the layers before anything is trained, then what the way of learning needs."""
        from modelwright_plugins.format.torch import load_skeleton

        network = load_skeleton(model)
        where = (ctx.where("include"), ctx.where("exclude"))
        self.require_groups(self.matrices(network, where), ctx)
        self._learning(model).prepare(model, ctx)

    def objective(self, model: Model, ctx: TrainingContext) -> tuple[Objective, Examples]:
        """That of the way of learning."""
        return self._learning(model).objective(model, ctx)

    def hooks(self, objective: Objective, model: Model, steps: int) -> Sequence[Hook]:
        """Masks on the layers that are named."""
        from modelwright_plugins.prune.growing_masks import GrowingMasks

        schedule = SparsitySchedule(
            self.initial, self.share, begin=self.begin, end=self.end, every=self.every, power=self.power
        )
        return [
            *super().hooks(objective, model, steps),
            GrowingMasks(
                objective.student,
                self.matrices(objective.student),
                schedule,
                scope=self.scope,
                activations=self.criterion == "wanda",
                pattern=self.pattern,
            ),
        ]

    def _learning(self, model: Model) -> DistillLogits | DistillEmbeddings:
        """The stage whose objective is trained for, with the fields that it shares with this one."""
        stage = DistillEmbeddings if model.spec.task == "embed" else DistillLogits
        shared = self.model_fields_set & stage.model_fields.keys()
        return stage.model_validate(self.model_dump(include={*shared}))
