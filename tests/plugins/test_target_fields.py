"""A step is done again where what its result depends on changed of the target, and not otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modelwright.api.stage import Stage
from modelwright.main import plan
from modelwright.testing.recipes import write_recipe
from modelwright.testing.tiny_model import write_tiny_model

CAST = {"use": "cast.dtype", "dtype": "fp16"}
WANDA = {"use": "prune.wanda", "data": "texts"}
STRUCTURED = {"use": "prune.structured", "data": "texts", "layers": 1}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("model"))


def key(stage: dict[str, Any], target: dict[str, Any], model: Path, folder: Path) -> str | None:
    recipe = write_recipe(folder, {"stages": {"trial": stage}, "target": {"threads": 1, **target}}, model)
    return plan(recipe, artifacts=folder / "artifacts", store=folder / "store").steps[0].key


@pytest.mark.parametrize(
    ("stage", "target", "again"),
    [
        (CAST, {"threads": 2}, False),
        (WANDA, {"dtype": "float16"}, False),
        (WANDA, {"threads": 2}, True),
        (STRUCTURED, {"dtype": "float16"}, True),
    ],
)
def test_a_step_is_done_again_where_its_result_depends_on_it(
    stage: dict[str, Any], target: dict[str, Any], again: bool, model: Path, tmp_path: Path
) -> None:
    before, after = key(stage, {}, model, tmp_path / "one"), key(stage, target, model, tmp_path / "other")
    assert None not in (before, after)
    assert (before != after) is again


def test_a_field_that_no_target_has_is_a_defect() -> None:
    with pytest.raises(TypeError, match="target_fields of Wrong are none of a target: thread"):

        class Wrong(Stage, target_fields=("thread",)):
            """Misspelt."""
