"""What the shape of a model decides is refused before anything runs, with the recipe's key."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from modelwright.errors import MissingError, ModelwrightError, RecipeError
from modelwright.main import plan
from modelwright.testing.recipes import write_recipe
from modelwright.testing.tiny_model import write_tiny_model

CASES: dict[str, tuple[dict[str, Any], str, str]] = {
    "groups": (
        {"use": "quantize.gptq", "data": "texts", "group_size": 24},
        r"inputs of '.*' are no multiple of 24",
        "group_size",
    ),
    "pattern": ({"use": "prune.magnitude", "pattern": "1:7"}, "no multiple of 7", "pattern"),
    "tiles": ({"use": "prune.magnitude", "block": [5, 1]}, "no whole number of tiles of 5 x 1", "block"),
    "layers": (
        {"use": "distill.embeddings", "data": "texts", "layers": "first 9"},
        "The layers first 9 cannot be taken of a model with 2",
        "layers",
    ),
    "pairs": (
        {"use": "distill.hidden", "data": "texts", "pairs": [[9, 1]]},
        r"The pair \[9, 1\] names a layer that is not there",
        "pairs",
    ),
    "length": (
        {"use": "prune.structured", "data": "texts", "latency": 1.5, "at": {"length": 60000}},
        r"A length of 60,000 is beyond the model's \d+ tokens",
        "at",
    ),
    "processes": (
        {"use": "distill.embeddings", "data": "texts", "accelerate_config": "recipe.yaml.list"},
        r"recipe\.yaml\.list is no configuration of accelerate",
        "accelerate_config",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_it_is_refused(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage, words, key = CASES[case]
    monkeypatch.chdir(tmp_path)
    Path("recipe.yaml.list").write_text("[many]")
    recipe = write_recipe(tmp_path, {"stages": {"trial": stage}}, write_tiny_model(tmp_path / "model"))
    with pytest.raises(RecipeError, match=words) as refused:
        plan(recipe, artifacts=tmp_path / "artifacts", store=tmp_path / "store")
    assert refused.value.where == f"key stages.trial.{key}, in {recipe}"


@pytest.mark.parametrize(
    ("provider", "kind", "words"),
    [
        ("CpuExecutionProvider", RecipeError, r"ONNX Runtime knows no Cpu[\s\S]*mean 'CPUExecutionProvider'"),
        ("AzureExecutionProvider", RecipeError, "AzureExecutionProvider computes no operator"),
        ("QNNExecutionProvider", MissingError, "has no QNNExecutionProvider"),
    ],
)
def test_a_provider_that_onnxruntime_lacks_is_refused(
    provider: str, kind: type[ModelwrightError], words: str, tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime", reason="needs the extra cpu or gpu")
    changes = {"stages": {"export": {"use": "export.onnx"}}, "target": {"provider": provider}}
    recipe = write_recipe(tmp_path, changes, write_tiny_model(tmp_path / "model"))
    with pytest.raises(kind, match=words) as refused:
        plan(recipe, artifacts=tmp_path / "artifacts", store=tmp_path / "store")
    assert refused.value.where == f"key target.provider, in {recipe}"
    assert "CPUExecutionProvider" in str(refused.value.accepted)


@pytest.mark.parametrize(
    ("field", "value"), [("temperature", math.inf), ("learning_rate", math.inf), ("epochs", math.nan)]
)
def test_no_parameter_is_infinite(field: str, value: float, tmp_path: Path) -> None:
    stage = {"use": "distill.logits", "data": "texts", field: value}
    recipe = write_recipe(tmp_path, {"stages": {"trial": stage}}, write_tiny_model(tmp_path / "model"))
    with pytest.raises(RecipeError, match="finite number") as refused:
        plan(recipe, artifacts=tmp_path / "artifacts", store=tmp_path / "store")
    assert f"stages.trial.{field}" in str(refused.value)
