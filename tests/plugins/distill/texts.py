"""The seeded texts of `modelwright.testing` as what a stage is taught on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from modelwright.api.dataset import Record, Split
from modelwright.api.model import Model
from modelwright.api.target import Target
from modelwright.testing.texts import write_texts
from tests.plugins.stage_context import FolderContext


def docs(folder: Path, train: int = 96, validation: int = 24) -> Mapping[tuple[str, Split], list[Record]]:
    """The data set `docs`: records with text, query, passage and label."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = write_texts(folder / "texts.jsonl", train + validation).read_text("utf-8").splitlines()
    records = [Record(**json.loads(line)) for line in lines]
    return {("docs", "train"): records[:train], ("docs", "validation"): records[train:]}


def context(folder: Path, teacher: Model) -> FolderContext:
    """A context in `folder` with those data, a teacher, and one thread."""
    data = docs(folder.parent / "docs")
    return FolderContext(folder, data=data, models={"teacher": teacher}, target=Target(threads=1))
