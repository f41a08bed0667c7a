"""What training uses of a stage's context, in each of its processes."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from pydantic import JsonValue

from modelwright.api.dataset import Record, Split
from modelwright.api.model import Model
from modelwright.api.target import Target


class TrainingContext(Protocol):
    """The part of `StageContext` that several processes can share."""

    out: Path
    checkpoint_dir: Path
    target: Target
    seed: int
    log: logging.Logger
    models: Mapping[str, Model]

    def data(self, name: str, split: Split) -> Sequence[Record]:
        """The records of a data set."""
        ...

    def describe(self, **changes: object) -> None:
        """Change fields of the result's spec."""
        ...

    def where(self, parameter: str) -> str:
        """Where the recipe sets a parameter."""
        ...

    def record(self, name: str, value: JsonValue) -> None:
        """Keep something for the report."""
        ...

    def progress(self, done: int, total: int, what: str = "") -> None:
        """Say how far it is."""
        ...
