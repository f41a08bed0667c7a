"""A stage that trains a tiny language model on its texts, for tests of training itself."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path

import torch

from modelwright.api.model import Model
from modelwright.api.target import Target
from modelwright.testing.texts import sentences
from modelwright_plugins.training.context import TrainingContext
from modelwright_plugins.training.example import Example, Examples
from modelwright_plugins.training.objective import Objective
from modelwright_plugins.training.stage import TrainingStage
from tests.plugins.stage_context import FolderContext

LENGTH = 24


class NextTokenObjective(Objective):
    def weight(self, example: Example) -> int:
        return len(example.tokens) - 1

    def forward(self, examples: Sequence[Example]) -> torch.Tensor:
        ids = torch.tensor([example.tokens for example in examples], device=self.device)
        loss: torch.Tensor = self.student(input_ids=ids, labels=ids).loss
        return loss


class NextToken(TrainingStage, name="test.next_token", takes="torch", gives="torch", fidelity="retrained"):
    """Train on 64 windows, with 16 held out."""

    data: str = "docs"
    epochs: float = 3
    batch_size: int = 8
    learning_rate: float = 3e-3
    evaluate_every: int = 4
    checkpoint_every: int = 5

    def objective(self, model: Model, ctx: TrainingContext) -> tuple[Objective, Examples]:
        from modelwright_plugins.format.torch import load_checkpoint
        from modelwright_plugins.text.calibration import run_together
        from modelwright_plugins.text.prompts import PromptTokenizer

        assert model.spec.generation is not None
        prompts = PromptTokenizer(model.path, model.spec.generation)
        tokens = run_together(prompts, model.spec.generation, sentences(200, seed=3), 80 * LENGTH)
        rows = [tuple(tokens[at * LENGTH : (at + 1) * LENGTH]) for at in range(80)]
        examples = Examples(
            [Example(row, number, "train") for number, row in enumerate(rows[:64])],
            [Example(row, number, "validation") for number, row in enumerate(rows[64:])],
        )
        return NextTokenObjective(load_checkpoint(model, dtype="float32")), examples


def context(folder: Path, checkpoints: Path | None = None) -> FolderContext:
    """A context with one thread; `checkpoints` are those of a run that was killed."""
    ctx = FolderContext(folder, target=Target(threads=1))
    ctx.checkpoint_dir = checkpoints or ctx.checkpoint_dir
    return ctx


class KilledContext(FolderContext):
    """Kills its own process after some steps, as the machine may."""

    last_step = 0

    def progress(self, done: int, total: int, what: str = "") -> None:
        if done == self.last_step:
            os.kill(os.getpid(), signal.SIGKILL)


def train_until_killed(stage: NextToken, model: Model, folder: Path, step: int) -> None:
    ctx = KilledContext(folder, target=Target(threads=1))
    ctx.last_step = step
    ctx.apply(stage, model)
