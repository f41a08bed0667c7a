"""What stages have in common that distill."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import Field, field_validator

from modelwright.api.context import StageContext
from modelwright.api.model import Model, ModelSize, ModelSpec
from modelwright.api.stage import ORIGINAL, Footprint
from modelwright.errors import RecipeError
from modelwright_plugins.distill.labels import require_same_labels
from modelwright_plugins.distill.layers import RULE, Layers, choose_layers
from modelwright_plugins.distill.shallower import shallower
from modelwright_plugins.distill.vocabulary import require_same_vocabulary
from modelwright_plugins.training.context import TrainingContext
from modelwright_plugins.training.footprint import training_footprint
from modelwright_plugins.training.stage import TrainingStage

if TYPE_CHECKING:
    from transformers import PreTrainedModel

INCOMING = "incoming"


class Distillation(TrainingStage):
    """Where teacher and student come from.

    The student is the model that comes in, or with `layers` some of its layers. The teacher is the model
    that the recipe starts from, so that what pruning lost is won back; or the incoming one, or any other.
    """

    layers: Layers | None = Field(
        None,
        description="Layers of the incoming model that the student is made of: `every 2`, `first 3`, "
        "`last 3`, `spread 3`, or a list such as [0, 2, 5]; null: all.",
    )
    teacher: str = Field(
        ORIGINAL,
        description="The teacher: `original` (the recipe's model), `incoming` (the model before this step), "
        "or a folder, pkg:// path or hub id.",
    )

    @field_validator("layers", mode="before")
    @classmethod
    def _a_rule(cls, layers: object) -> object:
        if not (layers is None or isinstance(layers, list | tuple) or RULE.fullmatch(str(layers))):
            raise ValueError(f"'{layers}' is neither every 2, first 3, last 3, spread 3 nor a list of layers")
        return layers

    def model_names(self) -> Mapping[str, str]:
        """The teacher, unless it is the model that comes in."""
        return {} if self.teacher == INCOMING else {"teacher": self.teacher}

    def check_models(self, spec: ModelSpec, models: Mapping[str, Model]) -> None:
        """The teacher does the same task with the same tokens, and labels where logits are matched."""
        teacher = models.get("teacher")
        if teacher is None:
            return
        if (teacher.spec.format, teacher.spec.task) != (self.takes, spec.task):
            raise RecipeError(
                f"The teacher is of format {teacher.spec.format} and task {teacher.spec.task}, the student "
                f"of {self.takes} and {spec.task}.",
                where="parameter teacher",
                accepted="a Hugging Face checkpoint for the student's task",
            )
        # Steps between do not change the tokenizer of the model that they work on.
        require_same_vocabulary(teacher, models[ORIGINAL], "parameter teacher")
        if self.matches_logits():
            require_same_labels(teacher.spec, spec, "parameter teacher")

    def matches_logits(self) -> bool:
        """Whether the student learns the teacher's logits, which are of its labels."""
        return False

    def teacher_of(self, model: Model, ctx: TrainingContext) -> Model:
        """The teacher's folder."""
        return ctx.models.get("teacher", model)

    def load_teacher(self, model: Model, ctx: TrainingContext) -> PreTrainedModel:
        """The teacher, ready for inference on the target's device."""
        from modelwright_plugins.format.torch import load_checkpoint

        teacher = load_checkpoint(self.teacher_of(model, ctx))
        _require_padding(teacher, model, ctx.where("teacher"))
        teacher.requires_grad_(False)
        teacher.config.use_cache = False
        return teacher.to(ctx.target.device)

    def load_student(self, model: Model, ctx: TrainingContext) -> PreTrainedModel:
        """The student in float32, with the layers it is to have."""
        from modelwright_plugins.blockwise.depth import keep_layers
        from modelwright_plugins.blockwise.matrices import blocks_of
        from modelwright_plugins.format.torch import load_checkpoint

        student = load_checkpoint(model, dtype="float32")
        _require_padding(student, model, "model.path")
        if self.layers is not None:
            count = len(blocks_of(student)[1])
            keep_layers(student, choose_layers(self.layers, count, ctx.where("layers")))
        return student

    def pass_tokens(self, size: ModelSize) -> int:
        """Tokens of the longest pass in one process: windows, for a model that generates."""
        length: int | None = getattr(self, "length", None)
        if length is None or size.anatomy is None or not size.anatomy.shape.generates:
            return super().pass_tokens(size)
        length = min(length, size.anatomy.shape.context_length or length)
        return self.batch_size // (self.processes_here() * self.accumulate) * length

    def footprint(self, size: ModelSize) -> Footprint:
        """The student's training, with a teacher of the incoming model's size beside it."""
        student = size
        if self.layers is not None and size.anatomy is not None and (count := size.anatomy.shape.layers):
            student = shallower(size, choose_layers(self.layers, count, "parameter layers"))
        return training_footprint(
            student,
            tokens=self.pass_tokens(size),
            freeze=self.freeze,
            checkpointing=self.gradient_checkpointing,
            processes=self.processes_here(),
            teacher_bytes=size.weight_bytes,
        )

    def prepare(self, model: Model, ctx: StageContext) -> None:
        """Say who teaches. Raises RecipeError where its tokens are not the student's."""
        teacher = self.teacher_of(model, ctx)
        require_same_vocabulary(teacher, model, ctx.where("teacher"))
        if self.matches_logits():
            require_same_labels(teacher.spec, model.spec, ctx.where("teacher"))
        ctx.record("teacher", {"model": self.teacher, "digest": teacher.digest})


def _require_padding(network: PreTrainedModel, model: Model, where: str) -> None:
    """Raise RecipeError for a classifier that could not tell a text's last token from padding."""
    if model.spec.task == "classify" and network.config.get_text_config().pad_token_id is None:
        raise RecipeError(
            f"The configuration of {type(network).__name__} names no padding token, by which a batch of "
            "texts is told from what pads it.",
            where=where,
            accepted="a config.json with a pad_token_id, that of its tokenizer",
        )
