"""The seeded texts of `modelwright.testing` as the data of a stage's context."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from modelwright.api.dataset import Record, Split
from modelwright.testing.texts import write_texts


def docs(folder: Path, train: int = 96, validation: int = 24) -> Mapping[tuple[str, Split], list[Record]]:
    """The data set `docs`: records with text, query, passage and label."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = write_texts(folder / "texts.jsonl", train + validation).read_text("utf-8").splitlines()
    records = [Record(**json.loads(line)) for line in lines]
    return {("docs", "train"): records[:train], ("docs", "validation"): records[train:]}
