"""Fixtures for the tests of plugins; pytest finds them wherever modelwright is installed.

    def test_it_halves_the_file(run_stage):
        run = run_stage(Half)
        assert run.after.path ...

Everything is imported when a fixture is used, so that other test runs do not pay for it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from modelwright.api.model import Task
    from modelwright.engine.run import RunResult
    from modelwright.testing.stage_runs import StageRuns

# An editable install does not list its files, which is how pytest knows what to rewrite.
pytest.register_assert_rewrite("modelwright.testing.conformance")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A tiny checkpoint: `tiny_model()` embeds, `tiny_model("classify")` has the labels noun and verb.

    Both are a BERT: two layers, hidden 32, 4 heads, at most 64 tokens, pooling files; the task
    `generate` gives a Llama. safetensors and a fast tokenizer, written once per session: read-only.
    """
    folder = tmp_path_factory.mktemp("tiny-model")

    @functools.cache
    def write(task: Task = "embed", seed: int = 0) -> Path:
        from modelwright.testing.tiny_model import write_tiny_model

        return write_tiny_model(folder / f"{task}-{seed}", task, seed)

    return write


@pytest.fixture
def run_recipe(tiny_model: Callable[..., Path], tmp_path: Path) -> Callable[..., RunResult]:
    """Runs a recipe in folders of its own: `run_recipe({"stages": {...}}).exit_code`.

    Takes a mapping (what it leaves out is filled in: the tiny model for `task`, two threads, a data set
    `texts`), the path of a YAML file, or the name of a shipped recipe; then overrides. Artifacts and store
    lie below the test's `tmp_path`. Raises what `modelwright.run` raises.
    """

    def run_it(
        recipe: Mapping[str, Any] | str | Path,
        overrides: Sequence[str] = (),
        *,
        task: Task = "embed",
        bench: bool = True,
    ) -> RunResult:
        from modelwright.main import run
        from modelwright.testing.recipes import write_recipe

        if isinstance(recipe, Mapping):
            recipe = write_recipe(tmp_path, recipe, tiny_model(task))
        artifacts, store = tmp_path / "artifacts", tmp_path / "store"
        return run(recipe, overrides, artifacts=artifacts, store=store, bench=bench)

    return run_it


@pytest.fixture(scope="session")
def run_stage(tiny_model: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> StageRuns:
    """Runs one registered stage on the tiny model: `run_stage(MyStage, {"sparsity": 0.5}).after.path`."""
    from modelwright.testing.stage_runs import StageRuns

    return StageRuns(tmp_path_factory.mktemp("stage-runs"), tiny_model)
