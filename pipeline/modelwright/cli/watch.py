"""Shows a run as it goes: plain lines for logs, a live progress bar on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from modelwright.cli.output import is_terminal, say
from modelwright.engine.listener import Listener
from modelwright.planning.plan import Plan
from modelwright.report.model import GateResult, StepResult
from modelwright.report.units import disk, memory, quantity, seconds


def watcher() -> PlainWatcher:
    """The listener that suits standard output."""
    return LiveWatcher() if is_terminal() else PlainWatcher()


class PlainWatcher(Listener):
    """One line for each thing that happens; fit for a CI log."""

    def planned(self, plan: Plan) -> None:
        """The recipe, and what is predicted."""
        ready = sum(step.sealed is not None for step in plan.steps)
        say(
            f"{plan.recipe.name}: {len(plan.steps)} steps, {ready} of them in the store; "
            f"predicted peak {memory(plan.peak_memory)}, disk {disk(plan.disk)}"
        )
        for note in plan.notes:
            say(f"  note: {note}")

    def step_started(self, name: str, stage: str) -> None:
        """A step begins."""
        say(f"  {name}: {stage} …")

    def step_waiting(self, name: str) -> None:
        """Another run has it."""
        say(f"  {name}: another run is making this step; waiting for it")

    def release_waiting(self) -> None:
        """Another run is releasing."""
        say("  another run is releasing a version; waiting for it")

    def step_finished(self, step: StepResult) -> None:
        """Its time and memory."""
        if step.cached:
            say(f"  {step.name}: from the store ({disk(step.disk)})")
        else:
            say(
                f"  {step.name}: done in {seconds(step.seconds)}, peak {memory(step.peak_memory)} "
                f"(predicted {memory(step.predicted_memory)}), {disk(step.disk)} on disk"
            )

    def validating(self, what: str) -> None:
        """A measurement begins."""
        say(f"  {what}")

    def stop(self) -> None:
        """The run is over, however it ended."""

    def judged(self, gates: Sequence[GateResult]) -> None:
        """Every gate with what was measured."""
        say("gates:")
        for gate in gates:
            verdict = "PASS" if gate.passed else "NONE" if gate.excused else "FAIL"
            say(f"  {verdict}  {gate.name}: {gate.asked}; {quantity(gate.measured, gate.unit)}")
            if gate.measured is None or not gate.passed:
                say(f"        {gate.reason}")


class LiveWatcher(PlainWatcher):
    """The same lines, with a spinner and a bar with time left under them."""

    def __init__(self) -> None:
        from rich.progress import (
            BarColumn,
            Progress,
            SpinnerColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            transient=True,
        )
        self._task = self._progress.add_task("planning", total=None)

    def planned(self, plan: Plan) -> None:
        """Start the bar."""
        super().planned(plan)
        self._progress.start()

    def step_started(self, name: str, stage: str) -> None:
        """Name the step beside the bar."""
        self._progress.reset(self._task, description=f"{name} ({stage})", total=None)

    def step_progress(self, name: str, done: int, total: int, what: str) -> None:
        """Move the bar."""
        self._progress.update(self._task, completed=done, total=total, description=f"{name}: {what}")

    def step_finished(self, step: StepResult) -> None:
        """The line, above the bar."""
        self._progress.stop()
        super().step_finished(step)
        self._progress.start()

    def validating(self, what: str) -> None:
        """Name the measurement beside the bar."""
        self._progress.reset(self._task, description=what, total=None)

    def judged(self, gates: Sequence[GateResult]) -> None:
        """End the bar, then the gates."""
        self._progress.stop()
        super().judged(gates)

    def stop(self) -> None:
        """Take the bar away."""
        self._progress.stop()
