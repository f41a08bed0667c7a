"""What else happens after each step of training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch

    from modelwright_plugins.training.context import TrainingContext


class Hook(Protocol):
    """Called before the first optimizer step and after each; its state is kept in the checkpoints.

    ::

        class Decay:
            def after_step(self, step): ...             # so many steps are done; 0 before the first
            def state_dict(self): return {"threshold": self.threshold}
            def load_state_dict(self, state): self.threshold = state["threshold"]
            def record(self, ctx): ctx.record("threshold", float(self.threshold))

    Every process calls it. What it does may depend on the model's weights, its state and `step` alone: then
    a run that was killed resumes to the same result.
    """

    def after_step(self, step: int) -> None:
        """Change the model when so many optimizer steps are done."""
        ...

    def state_dict(self) -> Mapping[str, torch.Tensor]:
        """Tensors to keep."""
        ...

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go on from what `state_dict` gave."""
        ...

    def record(self, ctx: TrainingContext) -> None:
        """Keep something for the report, at the end and in the first process alone."""
        ...
