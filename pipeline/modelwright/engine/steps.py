"""Runs the steps of a plan, each in a worker process, or takes them from the store."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

from modelwright.api.model import Model
from modelwright.engine.listener import Listener
from modelwright.engine.step import HANDLER
from modelwright.planning.plan import Plan, PlannedStep, input_digest
from modelwright.process.worker import Message, Worker
from modelwright.report.model import StepResult
from modelwright.store.atomic import disk_errors
from modelwright.store.store import LOG_FILE, SealedStep


class StepRunner:
    """Runs the steps of one plan in order, keeping what each of them did.

    >>> runner = StepRunner(plan, logs, Listener())
    >>> for step in plan.steps:
    ...     runner.run(step)
    >>> runner.models["quantize"].path
    """

    def __init__(self, plan: Plan, logs: Path, listener: Listener) -> None:
        self.results: list[StepResult] = []
        self.models: dict[str, Model] = {}
        self._plan = plan
        self._logs = logs
        self._listener = listener
        self._model = plan.source

    def run(self, step: PlannedStep) -> None:
        """Make or find one step. Raises StageError when its stage fails."""
        store = self._plan.workspace.store
        key = self._plan.key_of(step.stage, input_digest(self._model))
        sealed = store.find(key)
        seconds = 0.0
        cached = sealed is not None
        if sealed is None:
            with store.lock(key, lambda: self._listener.step_waiting(step.name)):
                sealed = store.find(key)  # another run may have finished it meanwhile
                cached = sealed is not None
                if sealed is None:
                    began = time.perf_counter()
                    sealed = self._make(step, key)
                    seconds = time.perf_counter() - began
        if cached and sealed.log.is_file():
            shutil.copyfile(sealed.log, self._log(step.name))
        self.models[step.name] = self._model = sealed.model
        result = self._result(step, sealed, cached, seconds)
        self.results.append(result)
        self._listener.step_finished(result)

    def _make(self, step: PlannedStep, key: str) -> SealedStep:
        store = self._plan.workspace.store
        self._listener.step_started(step.name, step.stage.name)

        def progress(message: Message) -> None:
            if message["kind"] == "progress":
                self._listener.step_progress(step.name, message["done"], message["total"], message["what"])

        with store.workspace(key) as folder:
            with disk_errors(store.root, "write to the store"):
                (folder / "model").mkdir()
                for kept in (store.checkpoints(key), store.cache(step.stage.name)):
                    kept.mkdir(parents=True, exist_ok=True)
            log = self._log(step.name)  # not in the folder, which goes away when the step fails
            with Worker(
                HANDLER,
                self._payload(step, key, folder),
                log=log,
                threads=self._plan.target.thread_count,
                what=f"The step '{step.name}' ({step.stage.name})",
            ) as worker:
                done = worker.result(progress)
            with disk_errors(store.root, "write to the store"):
                shutil.copyfile(log, folder / LOG_FILE)
            self._plan.check_inputs_unchanged()
            facts = {
                "stage": step.stage.name,
                "records": done["result"]["records"],
                "seconds": done["seconds"],
                "peak_memory": done["peak_memory"],
            }
            return store.seal(key, folder, facts)

    def _payload(self, step: PlannedStep, key: str, folder: Path) -> dict[str, Any]:
        recipe = self._plan.recipe
        return {
            "name": step.name,
            "stage": step.stage.reference(),
            **self._model.to_dict(),
            "models": {
                field: self._plan.models[name].to_dict() for field, name in step.stage.model_names().items()
            },
            "out": str(folder / "model"),
            "checkpoint_dir": str(self._plan.workspace.store.checkpoints(key)),
            "cache_dir": str(self._plan.workspace.store.cache(step.stage.name)),
            "logs": str(self._logs),
            "target": self._plan.target.model_dump(mode="json"),
            "seed": recipe.text.seed,
            "datasets": {name: recipe.datasets[name].reference() for name in step.stage.data_names()},
        }

    def _result(self, step: PlannedStep, sealed: SealedStep, cached: bool, seconds: float) -> StepResult:
        files = sealed.facts["files"].values()
        return StepResult(
            name=step.name,
            stage=step.stage.name,
            distribution=step.distribution,
            parameters=step.stage.model_dump(mode="json"),
            fidelity=step.stage.fidelity,
            key=sealed.key,
            cached=cached,
            seconds=seconds,
            predicted_memory=step.footprint.memory_bytes,
            peak_memory=sealed.facts["peak_memory"],
            predicted_disk=step.footprint.disk_bytes,
            disk=sum(file["size"] for file in files),
            digest=sealed.model.digest,
            records=sealed.facts["records"],
            log=f"logs/{step.name}.txt",
        )

    def _log(self, name: str) -> Path:
        """A step's log in the run's folder."""
        self._logs.mkdir(parents=True, exist_ok=True)
        return self._logs / f"{name}.txt"
