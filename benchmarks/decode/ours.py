"""Models of ours: the steps of a recipe on the compared checkpoint, without its validation."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

import modelwright
from benchmarks.turns.steps import run_plan


def run_recipe_steps(recipe: str, model: Path, place: Path, overrides: Sequence[str] = ()) -> Path:
    """The model folder that a recipe's steps make of a checkpoint; `place` keeps what was made before."""
    changes = ["model=local", f"model.path={model.absolute()}", *overrides]
    planned = modelwright.plan(recipe, changes, artifacts=place / "artifacts", store=place / "store")
    return run_plan(planned, place / "logs").models[planned.steps[-1].name].path


def run_steps(stages: Mapping[str, Mapping[str, Any]], model: Path, place: Path) -> Path:
    """The same for stages that no recipe has."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "recipe.yaml"
        text = {"name": "benchmark", "model": {"path": str(model.absolute())}, "stages": stages}
        file.write_text(yaml.safe_dump({"defaults": [{"/target": "cpu"}, "_self_"], **text}, sort_keys=False))
        planned = modelwright.plan(file, artifacts=place / "artifacts", store=place / "store")
        return run_plan(planned, place / "logs").models[planned.steps[-1].name].path
