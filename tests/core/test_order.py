"""What may follow what: tags that come, go and close, and steps behind one that changes the format."""

from __future__ import annotations

from pathlib import Path

import pytest

import modelwright
from modelwright.errors import RecipeError
from modelwright.testing.tiny_model import write_tiny_model
from tests.core.bench import Bench, in_process


def plan(bench: Bench, capsys: pytest.CaptureFixture[str], *uses: str):
    bench.write(stages={f"step{number}": {"use": use} for number, use in enumerate(uses)})
    return in_process(capsys, "plan", str(bench.root / "toy.yaml"))


def test_a_tag_that_is_lost_is_told(bench: Bench, capsys: pytest.CaptureFixture[str], monkeypatch):
    monkeypatch.chdir(bench.root)
    ended = plan(bench, capsys, "toy.int8", "toy.float")
    assert ended.code == 0, ended.err
    assert "note: The step 'step1' (toy.float) does not keep the model int8." in ended.out


def test_a_tag_that_is_lost_is_not_there_for_a_step_that_needs_it(bench: Bench, capsys, monkeypatch):
    monkeypatch.chdir(bench.root)
    assert plan(bench, capsys, "toy.int8", "toy.after_int8").code == 0
    ended = plan(bench, capsys, "toy.int8", "toy.float", "toy.after_int8")
    assert ended.code == 2
    assert "needs a model that is int8" in ended.err
    assert plan(bench, capsys, "toy.int8", "toy.float", "toy.int8").code == 0


def test_a_step_behind_the_one_that_changed_the_format_is_told_where_to_go(tmp_path: Path):
    recipe = tmp_path / "late.yaml"
    write_tiny_model(tmp_path / "model")
    recipe.write_text(
        f"name: late\nmodel: {{path: {tmp_path / 'model'}}}\n"
        "stages:\n  export: {use: export.onnx}\n  cast: {use: cast.dtype, dtype: bf16}\n"
    )
    with pytest.raises(RecipeError, match="takes torch, and the step 'export' gives onnx") as refused:
        modelwright.plan(recipe, artifacts=tmp_path)
    assert refused.value.hint == "put 'cast' before 'export'"
