"""How sparse a model is to be after each step of training."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SparsitySchedule:
    """From `initial` sparsity at step `begin` to `final` at step `end`, changed every `every` steps.

    >>> SparsitySchedule(0.0, 0.5, begin=0, end=100, every=10, power=3.0).due(50)
    0.4375

    final + (initial - final) x (1 - progress)^power: fast at first, while there is much that is not needed
    (Zhu & Gupta 2017, arXiv:1710.01878). With `power` 0 it is final from `begin` on.
    """

    initial: float
    final: float
    begin: int
    end: int
    every: int
    power: float

    def due(self, step: int) -> float | None:
        """The sparsity to reach after a step, None where nothing is due."""
        if not self.begin <= step <= self.end:
            return None
        if (step - self.begin) % self.every and step != self.end:
            return None
        progress = (step - self.begin) / (self.end - self.begin) if self.end > self.begin else 1.0
        left = (1 - progress) ** self.power if self.power else 0.0
        return self.final + (self.initial - self.final) * left or None
