"""Recipes for tests: what a mapping leaves out is filled in, so that a step or two make a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from modelwright.api.target import available_cpus
from modelwright.testing.texts import write_texts

DATA = "texts"


def write_recipe(folder: Path, recipe: Mapping[str, Any], model: Path) -> Path:
    """Write `folder/recipe.yaml` and return it.

    >>> write_recipe(tmp_path, {"stages": {"cast": {"use": "cast.dtype", "dtype": "bf16"}}}, tiny_model())

    Left out, `name` is `trial`, `model` the folder given, `target` two threads of the CPU; a data set
    `texts` (400 short texts with the columns text, query, passage and label) is always there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    texts = write_texts(folder / "texts.jsonl")
    filled = {
        "name": "trial",
        "model": {"path": str(model)},
        "target": {"threads": min(2, available_cpus())},
        **recipe,
        "data": {DATA: {"use": "jsonl", "path": str(texts)}, **recipe.get("data", {})},
    }
    file = folder / "recipe.yaml"
    file.write_text(yaml.safe_dump(filled, sort_keys=False), encoding="utf-8")
    return file
