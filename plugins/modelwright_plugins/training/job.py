"""A training as a folder, for processes that are started beside the step's own."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from modelwright.api.context import StageContext
from modelwright.api.dataset import Record, Split
from modelwright.api.model import Model
from modelwright.api.target import Target
from modelwright_plugins.training.stage import TrainingStage

JOB = "job.json"
DONE = "done.json"
ERROR = "error.json"
PROGRESS = "progress.json"
SPLITS: tuple[Split, ...] = ("train", "validation")


def write_job(folder: Path, stage: TrainingStage, model: Model, ctx: StageContext) -> None:
    """Write all that `JobContext` gives back in another process, the data included."""
    job = {
        "stage": stage.reference(),
        "model": model.to_dict(),
        "models": {field: found.to_dict() for field, found in ctx.models.items()},
        "out": str(ctx.out),
        "checkpoint_dir": str(ctx.checkpoint_dir),
        "target": ctx.target.model_dump(mode="json"),
        "seed": ctx.seed,
        "where": ctx.where("").rstrip("."),
    }
    for name in stage.data_names():
        for split in SPLITS:
            (folder / _data(name, split)).write_text(json.dumps([*ctx.data(name, split)]), encoding="utf-8")
    (folder / JOB).write_text(json.dumps(job), encoding="utf-8")


class JobContext:
    """The TrainingContext of one of several processes; only the first tells what it did.

    >>> ctx = JobContext(folder, speaks=PartialState().is_main_process)
    """

    def __init__(self, folder: Path, *, speaks: bool) -> None:
        self.job: dict[str, Any] = json.loads((folder / JOB).read_bytes())
        self.out = Path(self.job["out"])
        self.checkpoint_dir = Path(self.job["checkpoint_dir"])
        self.target = Target.model_validate(self.job["target"])
        self.seed: int = self.job["seed"]
        self.log = logging.getLogger(self.job["stage"]["use"])
        self.models: Mapping[str, Model] = {
            field: Model.from_dict(found) for field, found in self.job["models"].items()
        }
        self.model = Model.from_dict(self.job["model"])
        self.records: dict[str, JsonValue] = {}
        self.changes: dict[str, object] = {}
        self._folder = folder
        self._speaks = speaks

    def data(self, name: str, split: Split) -> Sequence[Record]:
        """The records that `write_job` wrote."""
        records: list[Record] = json.loads((self._folder / _data(name, split)).read_bytes())
        return records

    def describe(self, **changes: object) -> None:
        """Change fields of the result's spec."""
        self.changes.update(changes)

    def where(self, parameter: str) -> str:
        """Where the recipe sets a parameter."""
        return f"{self.job['where']}.{parameter}"

    def record(self, name: str, value: JsonValue) -> None:
        """Keep something for the report."""
        self.records[name] = value

    def progress(self, done: int, total: int, what: str = "") -> None:
        """Say how far it is."""
        if self._speaks:
            part = self._folder / f"{PROGRESS}.part"
            part.write_text(json.dumps([done, total, what]), encoding="utf-8")
            part.replace(self._folder / PROGRESS)


def _data(name: str, split: Split) -> str:
    return f"{name}-{split}.json"
