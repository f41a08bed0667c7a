"""What a run tells whoever watches it."""

from __future__ import annotations

from collections.abc import Sequence

from modelwright.planning.plan import Plan
from modelwright.report.model import GateResult, StepResult


class Listener:
    """Watches a run; every method may be overridden, and does nothing by itself."""

    def planned(self, plan: Plan) -> None:
        """The plan holds; the run begins."""

    def step_started(self, name: str, stage: str) -> None:
        """A step that the store does not have begins."""

    def step_waiting(self, name: str) -> None:
        """Another run is making this very step; it is waited for."""

    def release_waiting(self) -> None:
        """Another run is releasing a version of this name; it is waited for."""

    def step_progress(self, name: str, done: int, total: int, what: str) -> None:
        """A step is so far."""

    def step_finished(self, step: StepResult) -> None:
        """A step is there, made now or taken from the store."""

    def validating(self, what: str) -> None:
        """A measurement begins."""

    def judged(self, gates: Sequence[GateResult]) -> None:
        """The gates were judged."""
