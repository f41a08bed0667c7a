"""All that a stage may touch while it runs."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from pydantic import JsonValue

from modelwright.api.dataset import Record, Split
from modelwright.api.metric import Metric, Value
from modelwright.api.model import Model
from modelwright.api.target import Target


class StageContext(Protocol):
    """The handle that `Stage.run` is given.

    `out` is an empty folder for the result. `checkpoint_dir` survives a kill and is emptied when the step
    is sealed. `cache_dir` is shared by all runs of the stage that use this store, also at once: for what
    makes the next faster and changes no result. `log` is kept per step; what native code prints to the
    standard streams goes there too.
    `models` are those of the stage's `model_names`, by field.
    """

    out: Path
    checkpoint_dir: Path
    cache_dir: Path
    target: Target
    seed: int
    log: logging.Logger
    models: Mapping[str, Model]

    def data(self, name: str, split: Split) -> Sequence[Record]:
        """The records of a data set of the recipe that one of the stage's fields names."""
        ...

    def measure(
        self, candidates: Mapping[str, Model], metrics: Sequence[Metric], baseline: Model | None = None
    ) -> dict[str, list[Value]]:
        """Measure models exactly as validation does: each in a process of its own, taking turns.

        Each candidate is compared with `baseline`, or with the first candidate when none is given.
        """
        ...

    def describe(self, **changes: object) -> None:
        """Change fields of the result's `ModelSpec` (format, tags and task are set by the engine)."""
        ...

    def model(self, folder: Path) -> Model:
        """A handle on a folder below `out` or `scratch` as if it were the result, to `measure` it."""
        ...

    def scratch(self, name: str) -> Path:
        """A new empty folder that is removed when the step ends."""
        ...

    def where(self, parameter: str) -> str:
        """Where the recipe sets one of the stage's parameters, for an error: `stages.quantize.exclude`."""
        ...

    def record(self, name: str, value: JsonValue) -> None:
        """Keep a table, curve or decision for the report, under `name`."""
        ...

    def progress(self, done: int, total: int, what: str = "") -> None:
        """Say how far the stage is."""
        ...
