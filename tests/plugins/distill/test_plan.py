"""Who teaches, as a recipe says it and the plan resolves it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from modelwright.engine.listener import Listener
from modelwright.engine.run import execute
from modelwright.engine.steps import StepRunner
from modelwright.errors import RecipeError
from modelwright.main import plan
from modelwright.planning.plan import Plan
from modelwright.testing.recipes import write_recipe
from modelwright.testing.tiny_model import write_tiny_model

pytest.importorskip("accelerate", reason="needs accelerate")

DISTILL = {"use": "distill.embeddings", "data": "texts", "steps": 2, "pieces": 0}


def planned(folder: Path, stages: Mapping[str, Mapping[str, Any]]) -> Plan:
    model = folder / "model"
    if not model.is_dir():
        write_tiny_model(model)
    recipe = write_recipe(folder, {"stages": stages}, model)
    return plan(recipe, artifacts=folder / "artifacts", store=folder / "store")


def key(folder: Path, teacher: str) -> str | None:
    return planned(folder, {"distill": {**DISTILL, "teacher": teacher}}).steps[0].key


def test_the_recipes_model_teaches_what_comes_in(tmp_path: Path) -> None:
    found = planned(tmp_path, {"cast": {"use": "cast.dtype", "dtype": "bf16"}, "distill": DISTILL})
    runner = StepRunner(found, tmp_path / "logs", Listener())
    for step in found.steps:
        runner.run(step)
    assert runner.results[1].records["teacher"] == {"model": "original", "digest": found.baseline.digest}
    assert runner.models["cast"].digest != found.baseline.digest
    assert runner.models["distill"].spec.dtype == "bfloat16"


def test_another_teacher_makes_another_step(tmp_path: Path) -> None:
    teacher, same = (
        write_tiny_model(tmp_path / "teacher", seed=3),
        write_tiny_model(tmp_path / "same", seed=3),
    )
    keys = [key(tmp_path, str(folder)) for folder in (teacher, same)]
    assert None not in keys
    assert len({*keys}) == 2  # the recipe names another folder
    (teacher / "model.safetensors").write_bytes((tmp_path / "model" / "model.safetensors").read_bytes())
    assert key(tmp_path, str(teacher)) not in keys


def test_the_teacher_must_stay_what_it_was_planned_with(tmp_path: Path) -> None:
    teacher = write_tiny_model(tmp_path / "teacher", seed=3)
    found = planned(tmp_path, {"distill": {**DISTILL, "teacher": str(teacher)}})
    write_tiny_model(teacher, seed=4)
    with pytest.raises(RecipeError, match="The model changed while the run read it") as caught:
        found.check_inputs_unchanged()
    assert str(teacher) in str(caught.value)


def test_a_teacher_of_another_vocabulary_is_refused_before_anything_runs(tmp_path: Path) -> None:
    teacher = write_tiny_model(tmp_path / "teacher")
    file = teacher / "tokenizer.json"
    text = json.loads(file.read_text("utf-8"))
    text["model"]["vocab"]["unheard"] = text["model"]["vocab"].pop([*text["model"]["vocab"]][20])
    file.write_text(json.dumps(text), encoding="utf-8")
    with pytest.raises(RecipeError, match="Teacher and student are of different vocabularies") as caught:
        key(tmp_path, str(teacher))
    assert caught.value.where == f"key stages.distill.teacher, in {tmp_path / 'recipe.yaml'}"


def test_a_teacher_whose_weights_are_not_numbers_is_refused(tmp_path: Path) -> None:
    teacher = write_tiny_model(tmp_path / "teacher", seed=3)
    weights = load_file(teacher / "model.safetensors")
    weights["embeddings.word_embeddings.weight"][3, 4] = np.nan
    save_file(weights, teacher / "model.safetensors")
    found = planned(tmp_path, {"distill": {**DISTILL, "teacher": str(teacher)}})
    with pytest.raises(RecipeError, match="The weights hold 1 values that are NaN or infinite") as caught:
        execute(found)
    assert str(teacher) in str(caught.value.where)
    assert not found.workspace.store.checkpoints(str(found.steps[0].key)).exists()


def test_a_teacher_without_a_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="The model has no name") as caught:
        key(tmp_path, "")
    assert str(caught.value.where).startswith("key stages.distill.teacher")


def test_a_teacher_that_is_not_there_is_said_where_it_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="There is no model at") as caught:
        key(tmp_path, str(tmp_path / "nowhere"))
    assert "stages.distill.teacher" in str(caught.value.where)


def test_what_cannot_go_is_said_where_the_step_asks_for_it(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="cannot lose heads alone") as caught:
        planned(tmp_path, {"cut": {"use": "prune.structured", "heads": 2, "data": "texts"}})
    assert caught.value.where == f"key stages.cut.heads, in {tmp_path / 'recipe.yaml'}"
    with pytest.raises(RecipeError, match="9 layers cannot go") as caught:
        planned(tmp_path, {"cut": {"use": "prune.structured", "layers": 9, "data": "texts"}})
    assert caught.value.where == f"key stages.cut.layers, in {tmp_path / 'recipe.yaml'}"


def test_nothing_is_trained_after_an_export(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"takes torch, and the step 'export' gives onnx"):
        planned(tmp_path, {"export": {"use": "export.onnx"}, "distill": DISTILL})
