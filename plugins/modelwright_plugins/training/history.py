"""What happened while a model was trained, for its checkpoints and for the report."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from pydantic import BaseModel

if TYPE_CHECKING:
    from modelwright_plugins.training.context import TrainingContext

POINTS = 200  # of a curve in the report


class Evaluation(BaseModel):
    """The loss on held-out examples after so many steps."""

    step: int
    loss: float


class History(BaseModel):
    """Losses of every step, evaluations, and the seconds it took, over all runs that it was resumed in."""

    losses: list[float] = []
    evaluations: list[Evaluation] = []
    seconds: float = 0.0
    best_from: int = 0

    @property
    def step(self) -> int:
        """The steps that are done."""
        return len(self.losses)

    @property
    def best(self) -> Evaluation | None:
        """The lowest held-out loss from step `best_from` on; of equal ones the first."""
        counted = [found for found in self.evaluations if found.step >= self.best_from]
        return min(counted, key=lambda found: found.loss, default=None)

    def waited(self) -> int:
        """Evaluations since the best one."""
        return len(self.evaluations) - 1 - self.evaluations.index(self.best) if self.best else 0

    def record(self, ctx: TrainingContext, planned: int, kept: int) -> None:
        """Keep curves and figures for the report; `kept` is the step whose weights are the result."""
        ctx.record("loss", [*_thinned(self.losses)])
        ctx.record("held_out_loss", [found.loss for found in self.evaluations])
        ctx.record(
            "training",
            {
                "steps": self.step,
                "steps_planned": planned,
                "stopped_early": self.step < planned,
                "weights_of_step": kept,
                "seconds": self.seconds,
            },
        )


def _thinned(losses: list[float]) -> list[float]:
    """At most `POINTS` means of losses that follow each other."""
    size = -(-len(losses) // POINTS) or 1
    return [statistics.fmean(losses[start : start + size]) for start in range(0, len(losses), size)]
