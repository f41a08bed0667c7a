from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from modelwright.errors import RecipeError
from modelwright.main import plan
from modelwright.testing.texts import write_texts

RECIPES = Path(__file__).parents[2] / "examples" / "recipes"


@pytest.fixture
def my_files(tiny_model: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that own-data.yaml is run in, with the checkpoint and the texts it names."""
    (tmp_path / "my-checkpoint").symlink_to(tiny_model())
    write_texts(tmp_path / "my-texts.jsonl")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_own_data_plans_on_a_checkpoint_and_texts_of_ones_own(my_files: Path) -> None:
    planned = plan(RECIPES / "own-data.yaml")
    assert [step.name for step in planned.steps] == ["export", "quantize", "compile"]
    assert planned.source.path == my_files / "my-checkpoint"
    assert set(planned.recipe.gates) == {"parity", "speed", "size", "fused"}


def test_own_data_takes_other_names_in_one_line_each(my_files: Path) -> None:
    (my_files / "my-checkpoint").rename(my_files / "other")
    renamed = (my_files / "my-texts.jsonl").read_text("utf-8").replace('"text"', '"body"')
    (my_files / "lines.jsonl").write_text(renamed, encoding="utf-8")
    overrides = ["model.path=./other", "data.mine.path=lines.jsonl", "data.mine.text=body"]
    planned = plan(RECIPES / "own-data.yaml", overrides)
    assert "text" in planned.recipe.datasets["mine"].columns()


def test_without_the_files_it_says_which_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecipeError, match=r"There is no model at '\./my-checkpoint'"):
        plan(RECIPES / "own-data.yaml")
