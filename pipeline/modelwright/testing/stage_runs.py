"""Runs one stage on the tiny model through the engine, and keeps what came out."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelwright.api.model import Model, Task
from modelwright.api.stage import Stage
from modelwright.api.target import Target
from modelwright.digest import digest_json
from modelwright.engine.listener import Listener
from modelwright.engine.steps import StepRunner
from modelwright.errors import ModelwrightError
from modelwright.main import plan
from modelwright.registry import Registry
from modelwright.report.model import StepResult
from modelwright.testing.bridge import find_bridge
from modelwright.testing.recipes import write_recipe

Steps = Mapping[str, Mapping[str, Any]]
STEP = "trial"


@dataclass(frozen=True)
class StageRun:
    """A stage's run: the model before (as it was hashed beforehand), after, and what the report would say."""

    before: Model
    after: Model
    step: StepResult
    target: Target


class StageRuns:
    """Runs a registered stage as a recipe would: planned, in a worker process, its result checked and sealed.

    >>> run = run_stage(MyStage, {"sparsity": 0.5})
    >>> run.after.path, run.step.records

    `before` names the steps that make the stage's input; without it built-in stages do, where a
    checkpoint is not what the stage takes. Equal calls give the same run; another `attempt` runs anew, in
    another folder. Raises what a recipe's run raises.
    """

    def __init__(self, folder: Path, tiny_model: Callable[[Task], Path]) -> None:
        self._folder = folder
        self._tiny_model = tiny_model
        self._finished: dict[str, StageRun | ModelwrightError] = {}

    def __call__(
        self,
        stage: type[Stage],
        parameters: Mapping[str, Any] | None = None,
        *,
        task: Task = "embed",
        before: Steps | None = None,
        target: Mapping[str, Any] | None = None,
        attempt: int = 0,
    ) -> StageRun:
        """Run it, or return the run that an equal call made."""
        key = digest_json([stage.name, parameters, task, before, target, attempt])
        if key not in self._finished:
            source = self._input(_steps_before(stage, before), task, target)
            folder = self._new_folder(stage.name)
            # A copy of its own, so that a stage which writes into its input spoils no other run.
            shutil.copytree(source, folder / "input", copy_function=shutil.copyfile)
            text = _text({STEP: _use(stage, parameters)}, target)
            self._finished[key] = _attempt(write_recipe(folder, text, folder / "input"))
        return _result(self._finished[key])

    def recipe(
        self,
        stage: type[Stage],
        parameters: Mapping[str, Any] | None = None,
        *,
        task: Task = "embed",
        before: Steps | None = None,
        target: Mapping[str, Any] | None = None,
    ) -> Path:
        """Write the recipe from the checkpoint on: the steps that make the stage's input, and the stage."""
        steps = {**_steps_before(stage, before), STEP: _use(stage, parameters)}
        return write_recipe(self._new_folder(stage.name), _text(steps, target), self._tiny_model(task))

    def _input(self, steps: Steps, task: Task, target: Mapping[str, Any] | None) -> Path:
        """The tiny model, or the result of some steps on it, made once."""
        if not steps:
            return self._tiny_model(task)
        key = digest_json([steps, task, target])
        if key not in self._finished:
            file = write_recipe(self._new_folder("input"), _text(steps, target), self._tiny_model(task))
            self._finished[key] = _attempt(file)
        return _result(self._finished[key]).after.path

    def _new_folder(self, name: str) -> Path:
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self._folder))


def _steps_before(stage: type[Stage], before: Steps | None) -> Steps:
    return find_bridge(Registry.load(), stage) if before is None else before


def _use(stage: type[Stage], parameters: Mapping[str, Any] | None) -> dict[str, Any]:
    return {"use": stage.name, **(parameters or {})}


def _result(found: StageRun | ModelwrightError) -> StageRun:
    if isinstance(found, ModelwrightError):
        raise found
    return found


def _text(steps: Steps, target: Mapping[str, Any] | None) -> dict[str, Any]:
    return {"stages": steps, **({"target": dict(target)} if target else {})}


def _attempt(recipe: Path) -> StageRun | ModelwrightError:
    """Run a recipe's steps, and no validation. A failure is kept, so that it is not waited for twice."""
    folder = recipe.parent
    try:
        planned = plan(recipe, artifacts=folder / "artifacts", store=folder / "store")
        runner = StepRunner(planned, folder / "logs", Listener())
        for step in planned.steps:
            runner.run(step)
    except ModelwrightError as error:
        return error
    return StageRun(planned.source, runner.models[planned.steps[-1].name], runner.results[-1], planned.target)
