"""What stages have in common that train a model."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

import yaml
from pydantic import Field, model_validator

from modelwright.api.context import StageContext
from modelwright.api.model import Model, ModelSize, ModelSpec
from modelwright.api.stage import Footprint, Stage
from modelwright.errors import RecipeError
from modelwright_plugins.blockwise.name_patterns import matches, require_matches
from modelwright_plugins.prune.sparsity import SPARSE
from modelwright_plugins.training.context import TrainingContext
from modelwright_plugins.training.example import Examples
from modelwright_plugins.training.footprint import TEXT_TOKENS, training_footprint
from modelwright_plugins.training.schedule import Schedule

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from modelwright_plugins.training.hook import Hook
    from modelwright_plugins.training.objective import Objective


class TrainingStage(Stage, target_fields=("device", "threads")):
    """How long, how fast and in how many processes; a stage adds what it makes small in `objective`.

    Examples are those of the train split of `data`; the validation split is held out. The batch of a step is
    `batch_size` examples however many processes and pieces share it, and results differ by rounding only.
    In several processes each holds the whole model, and gradients are averaged (PyTorch's
    DistributedDataParallel, by accelerate). On several GPUs or machines `accelerate_config` names a file
    that `accelerate config` wrote; the folders of the run must then be shared, and on every further machine
    the command that the step's log shows is started by hand.
    """

    data: str = Field(description="The data set to train on.")
    epochs: float = Field(3, gt=0, description="Times that every example is seen.")
    steps: int | None = Field(None, ge=1, description="Optimizer steps, instead of epochs.")
    batch_size: int = Field(32, ge=1, description="Examples of one step, over all processes.")
    accumulate: int = Field(1, ge=1, description="Pieces that a batch is computed in, to save memory.")
    learning_rate: float = Field(1e-4, gt=0, description="The highest learning rate.")
    schedule: Schedule = Field("cosine", description="How the learning rate falls.")
    warmup: float = Field(0.1, ge=0, lt=1, description="Share of the steps over which it rises first.")
    weight_decay: float = Field(0.01, ge=0, description="Weight decay of AdamW.")
    clip: float | None = Field(1.0, gt=0, description="Largest norm of the gradient; null: any.")
    precision: Literal["fp32", "bf16"] = Field(
        "fp32", description="What activations are computed in; weights are fp32."
    )
    dropout: bool = Field(False, description="Train with the dropout that the model's configuration names.")
    gradient_checkpointing: bool = Field(
        False, description="Compute activations again in the backward pass, to save memory."
    )
    freeze: tuple[str, ...] = Field((), description="Name patterns of weights that stay as they are.")
    evaluate_every: int = Field(100, ge=1, description="Steps between evaluations on held-out data.")
    patience: int | None = Field(
        None, ge=1, description="Evaluations without a better one after which it stops; null: never."
    )
    keep: Literal["best", "last"] = Field("best", description="Whose weights are the result, by evaluation.")
    checkpoint_every: int = Field(200, ge=1, description="Steps between checkpoints.")
    processes: int = Field(1, ge=1, description="Processes on this machine that share each batch.")
    accelerate_config: str | None = Field(
        None, description="Configuration file for `accelerate launch` to start the processes with."
    )

    @model_validator(mode="after")
    def _consistent_training(self) -> Self:
        if self.accelerate_config is not None and self.changed("processes"):
            raise ValueError("accelerate_config says how many processes there are: leave out processes")
        if self.batch_size % (self.processes * self.accumulate):
            raise ValueError(
                f"batch_size {self.batch_size} is no multiple of processes x accumulate, "
                f"{self.processes} x {self.accumulate}"
            )
        return self

    def check(self, spec: ModelSpec) -> None:
        """The file for accelerate reads, and its processes can share a batch."""
        if self.accelerate_config is not None:
            processes, _ = self._launched()
            self._require_shares(processes, "parameter batch_size")

    @property
    def accelerate_file(self) -> Path:
        """Where the configuration for accelerate is."""
        assert self.accelerate_config is not None
        return Path(self.accelerate_config).expanduser()

    def processes_here(self) -> int:
        """Processes on this machine, those that accelerate starts too. Raises RecipeError as `check` does."""
        if self.accelerate_config is None:
            return self.processes
        processes, machines = self._launched()
        return max(1, processes // machines)

    def _launched(self) -> tuple[int, int]:
        """Processes in all, and machines, that accelerate's configuration names; 1 where it does not."""
        try:
            found = yaml.safe_load(self.accelerate_file.read_text(encoding="utf-8")) or {}
            processes, machines = (int(found.get(key) or 1) for key in ("num_processes", "num_machines"))
        except OSError as error:
            reason = f"{self.accelerate_config} cannot be read: {error.strerror}."
        except (yaml.YAMLError, AttributeError, TypeError, ValueError, ArithmeticError):
            reason = f"{self.accelerate_config} is no configuration of accelerate."
        else:
            if processes > 0 < machines:
                return processes, machines
            reason = f"{self.accelerate_config} names {processes} processes on {machines} machines."
        raise RecipeError(
            reason,
            where="parameter accelerate_config",
            accepted="a file that `accelerate config` wrote",
        )

    @abstractmethod
    def objective(self, model: Model, ctx: TrainingContext) -> tuple[Objective, Examples]:
        """What is trained, and on what; called in every process, with the same result."""

    def hooks(self, objective: Objective, model: Model, steps: int) -> Sequence[Hook]:
        """What happens after each of so many steps: zeros of a sparse model stay zeros."""
        from modelwright_plugins.training.zero_masks import ZeroMasks

        return [ZeroMasks(objective.student)] if SPARSE in model.spec.tags else []

    def best_from(self) -> int:
        """The first step whose weights may be kept as the best."""
        return 0

    def planned_steps(self, examples: Examples, ctx: TrainingContext) -> int:
        """Steps unless it stops early. Raises RecipeError where there is less than one batch."""
        per_epoch = len(examples.train) // self.batch_size
        if not per_epoch:
            raise RecipeError(
                f"There are {len(examples.train):,} examples to train on, fewer than one batch of "
                f"{self.batch_size:,}.",
                where=ctx.where("batch_size"),
                hint="more data, or a smaller batch_size",
            )
        return self.steps or math.ceil(self.epochs * per_epoch)

    def pass_tokens(self, size: ModelSize) -> int:
        """Tokens of the longest pass in one process."""
        shape = size.anatomy.shape if size.anatomy is not None else None
        context = (shape.context_length if shape else None) or TEXT_TOKENS
        examples = self.batch_size // (self.processes_here() * self.accumulate)
        return examples * min(context, TEXT_TOKENS)

    def footprint(self, size: ModelSize) -> Footprint:
        """The model, what its optimizer keeps, and the activations of the longest batch."""
        return training_footprint(
            size,
            tokens=self.pass_tokens(size),
            freeze=self.freeze,
            checkpointing=self.gradient_checkpointing,
            processes=self.processes_here(),
        )

    def prepare(self, model: Model, ctx: StageContext) -> None:
        """What is done once, before the processes start."""

    def run(self, model: Model, ctx: StageContext) -> None:
        """Train in this process, or start others that do."""
        from modelwright_plugins.format.torch_device import require_device
        from modelwright_plugins.format.torch_tokenizer import copy_with_fast_tokenizer

        require_device(ctx.target)
        self._require_gpus(ctx)
        copy_with_fast_tokenizer(model, ctx.out)
        self.prepare(model, ctx)
        if self.processes == 1 and self.accelerate_config is None:
            self.train(model, ctx)
            return
        from modelwright_plugins.training.launch import launch

        launch(self, model, ctx)

    def train(self, model: Model, ctx: TrainingContext) -> None:
        """Train in this process, alone or as one of several; the first writes the result."""
        import torch

        from modelwright_plugins.training.accelerator import accelerator_of
        from modelwright_plugins.training.loop import Loop
        from modelwright_plugins.training.result import save_result

        accelerator = accelerator_of(self.precision, ctx.target)
        self._require_shares(accelerator.num_processes, ctx.where("batch_size"))
        torch.set_num_threads(max(1, ctx.target.thread_count // self.processes_here()))
        torch.manual_seed(ctx.seed)
        objective, examples = self.objective(model, ctx)
        objective.to(accelerator.device)  # before hooks take hold of its weights
        self._set_up(objective.student, ctx)
        hooks = self.hooks(objective, model, self.planned_steps(examples, ctx))
        Loop(self, objective, examples, ctx, accelerator, hooks).run()
        if accelerator.is_main_process:
            save_result(objective.student, model, ctx)

    def _require_gpus(self, ctx: StageContext) -> None:
        """Raise RecipeError where there are fewer GPUs than processes."""
        import torch

        if ctx.target.device == "cuda" and self.processes > torch.cuda.device_count():
            raise RecipeError(
                f"{self.processes} processes want a GPU each, and there are {torch.cuda.device_count()}.",
                where=ctx.where("processes"),
                accepted=f"1 to {torch.cuda.device_count()}",
            )

    def _require_shares(self, processes: int, where: str) -> None:
        """Raise RecipeError where the processes that accelerate started cannot share a batch evenly."""
        if self.batch_size % (processes * self.accumulate):
            raise RecipeError(
                f"batch_size {self.batch_size} is no multiple of processes x accumulate, {processes} x "
                f"{self.accumulate}.",
                where=where,
                accepted=f"a multiple of {processes * self.accumulate}",
            )

    def _set_up(self, student: PreTrainedModel, ctx: TrainingContext) -> None:
        """Dropout, gradient checkpointing, and what stays as it is."""
        from modelwright_plugins.training.dropout import without_dropout

        student.train()
        student.config.use_cache = False
        if not self.dropout:
            without_dropout(student)
        if self.gradient_checkpointing:
            student.activation_checkpointing_enable({"use_reentrant": False})
        weights = dict(student.named_parameters())
        require_matches([*weights], self.freeze, "weight", ctx.where("freeze"))
        for name, weight in weights.items():
            if matches(name, self.freeze):
                weight.requires_grad_(False)
        if not any(weight.requires_grad for weight in weights.values()):
            raise RecipeError(
                "Every weight of the model is to stay as it is: nothing is left to train.",
                where=ctx.where("freeze"),
                accepted="patterns that leave some weights",
            )
