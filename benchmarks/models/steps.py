"""The steps of a plan, run without its validation."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

import modelwright
from modelwright.api.model import Model
from modelwright.engine.listener import Listener
from modelwright.engine.steps import StepRunner
from modelwright.planning.plan import Plan
from modelwright.report.model import StepResult


class Ran(NamedTuple):
    """The model after each step, what is known of each, and the seconds that it took when it was made."""

    models: dict[str, Model]
    results: list[StepResult]
    seconds: dict[str, float]


def run_plan(planned: Plan, logs: Path) -> StepRunner:
    """Run every step of a plan, or take it from the store; the runner with the models and results."""
    runner = StepRunner(planned, logs, Listener())
    for step in planned.steps:
        runner.run(step)
    return runner


def run_stages(
    stages: Mapping[str, Mapping[str, Any]],
    model: Path | str,
    place: Path,
    data: Mapping[str, Mapping[str, Any]] | None = None,
    target: str = "cpu",
) -> Ran:
    """The same for stages that no recipe has; `place` keeps what was made before.

    `model` is a checkpoint's folder, or the name of a model of the configuration, `target` that of a target.
    """
    named = [{"/model": model}] if isinstance(model, str) else []
    recipe: dict[str, Any] = {
        "defaults": [*named, {"/target": target}, "_self_"],
        "name": "benchmark",
        "data": dict(data or {}),
        "stages": dict(stages),
    }
    if isinstance(model, Path):
        recipe["model"] = {"path": str(model.absolute())}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "recipe.yaml"
        file.write_text(yaml.safe_dump(recipe, sort_keys=False))
        planned = modelwright.plan(file, artifacts=place / "artifacts", store=place / "store")
        runner = run_plan(planned, place / "logs")
    store = planned.workspace.store
    sealed = {result.name: store.find(result.key) for result in runner.results}
    seconds = {name: step.facts["seconds"] for name, step in sealed.items() if step is not None}
    return Ran(runner.models, runner.results, seconds)
