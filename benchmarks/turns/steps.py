"""The steps of a plan, run without its validation."""

from __future__ import annotations

from pathlib import Path

from modelwright.engine.listener import Listener
from modelwright.engine.steps import StepRunner
from modelwright.planning.plan import Plan


def run_plan(planned: Plan, logs: Path) -> StepRunner:
    """Run every step of a plan, or take it from the store; the runner with the models and results."""
    runner = StepRunner(planned, logs, Listener())
    for step in planned.steps:
        runner.run(step)
    return runner
