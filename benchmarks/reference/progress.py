"""What a training has reached, on disk, so that a killed one goes on."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.reference.protocol import Protocol


@dataclass
class Progress:
    """The curve so far, the weights of lowest validation loss, and the training seconds spent."""

    file: Path
    plan: str
    curve: list[dict[str, float]] = field(default_factory=list)
    best: dict[str, Any] = field(default_factory=dict)
    spent: float = 0.0

    @classmethod
    def of(cls, folder: Path, protocol: Protocol) -> Progress:
        """That of a folder, new where it is empty. Raises ValueError where another protocol began it."""
        import torch

        progress = cls(folder / "state.pt", json.dumps(asdict(protocol)))
        if progress.file.is_file():
            state = torch.load(progress.file, weights_only=True)
            if state["plan"] != progress.plan:
                raise ValueError(
                    f"{progress.file} is of a training with another protocol; remove it, or set --work"
                )
            progress.curve, progress.best, progress.spent = state["curve"], state["best"], state["spent"]
        return progress

    @property
    def step(self) -> int:
        """The step to go on with."""
        return int(self.curve[-1]["step"]) if self.curve else 0

    def restore(self, model: Any, optimizer: Any) -> None:
        """Give both the state that the last `keep` wrote, if there was one."""
        import torch

        if self.file.is_file():
            state = torch.load(self.file, weights_only=True)
            model.load_state_dict(state["model"])
            optimizer.load_state_dict(state["optimizer"])

    def keep(self, point: dict[str, float], model: Any, optimizer: Any) -> None:
        """Add a point to the curve and write everything."""
        import torch

        self.curve.append(point)
        self.spent = point["s"]
        if point["validation"] <= min(each["validation"] for each in self.curve):
            self.best = {name: value.clone() for name, value in model.state_dict().items()}
        state = {"plan": self.plan, "curve": self.curve, "best": self.best, "spent": self.spent}
        state |= {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
        self.file.parent.mkdir(parents=True, exist_ok=True)
        part = self.file.with_suffix(".part")
        torch.save(state, part)
        part.replace(self.file)
