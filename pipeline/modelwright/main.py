"""The Python API: plan and run a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from modelwright.engine.listener import Listener
from modelwright.engine.run import RunResult, execute
from modelwright.planning.plan import Plan, make_plan
from modelwright.recipe.recipe import load_recipe
from modelwright.registry import Registry
from modelwright.store.workspace import Workspace


def plan(
    recipe: str | Path | None,
    overrides: Sequence[str] = (),
    *,
    artifacts: str | Path | None = None,
    store: str | Path | None = None,
) -> Plan:
    """Compose, validate and plan a recipe; nothing runs.

    >>> modelwright.plan("encoder-int8", ["stages.quantize.per_channel=false"]).peak_memory

    `recipe` is the name of a shipped recipe or the path of a YAML file; `overrides` are Hydra's. Raises
    RecipeError when it is wrong and MissingError when this machine lacks something.
    """
    registry = Registry.load()
    workspace = Workspace.locate(
        Path(artifacts) if artifacts is not None else None, Path(store) if store is not None else None
    )
    return make_plan(registry, load_recipe(registry, recipe, overrides), workspace)


def run(
    recipe: str | Path | None,
    overrides: Sequence[str] = (),
    *,
    artifacts: str | Path | None = None,
    store: str | Path | None = None,
    bench: bool = True,
    listener: Listener | None = None,
) -> RunResult:
    """Run a recipe to its verdict.

    >>> result = modelwright.run("encoder-int8")
    >>> result.report.verdict, result.artifact
    ('released', PosixPath('artifacts/minilm-int8/1'))

    A rejected run returns with `exit_code` 1 and no artifact. Raises RecipeError, MissingError, or
    StageError when a step or a measurement failed.
    """
    return execute(plan(recipe, overrides, artifacts=artifacts, store=store), bench=bench, listener=listener)
