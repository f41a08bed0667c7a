"""Models of ours: the steps of a recipe on the compared checkpoint, without its validation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import modelwright
from benchmarks.models.steps import run_plan


def run_recipe_steps(recipe: str, model: Path, place: Path, overrides: Sequence[str] = ()) -> Path:
    """The model folder that a recipe's steps make of a checkpoint; `place` keeps what was made before."""
    changes = ["model=local", f"model.path={model.absolute()}", *overrides]
    planned = modelwright.plan(recipe, changes, artifacts=place / "artifacts", store=place / "store")
    return run_plan(planned, place / "logs").models[planned.steps[-1].name].path
