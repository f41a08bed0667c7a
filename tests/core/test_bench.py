"""Measuring an artifact on a machine that has the artifact, and little of what made it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml
from benchmarks.encoder.__main__ import default_artifacts

from tests.core.bench import Bench, in_process

METRICS = {
    "parity": {"data": "docs", "samples": 8},
    "size": {},
    "memory": {"batch": 1, "length": 8},
    "throughput": {"data": "others"},
}


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    bench = Bench(tmp_path_factory.mktemp("released"))
    shutil.copyfile(bench.root / "docs.jsonl", bench.root / "others.jsonl")
    data = {name: {"use": "jsonl", "path": f"{name}.jsonl"} for name in ("docs", "others")}
    bench.write(validate={"metrics": METRICS}, data=data)
    ended = bench.run()
    assert ended.code == 0, ended.err
    return bench


@pytest.fixture
def artifact(released: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy in a folder where nothing else is, made by a stage that is not registered here."""
    copy = tmp_path / "moved"
    shutil.copytree(released.artifacts / "toy" / "1", copy)
    recipe = yaml.safe_load((copy / "recipe.yaml").read_text("utf-8"))
    recipe["stages"]["double"]["use"] = "uninstalled.since"
    recipe["publish"]["use"] = "uninstalled-too"
    (copy / "recipe.yaml").chmod(0o644)
    (copy / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return copy


def test_what_made_the_artifact_need_not_be_here(artifact: Path, capsys):
    ended = in_process(capsys, "bench", "--json", str(artifact))
    assert ended.code == 0, ended.err
    names = {value["name"] for value in json.loads(ended.out)}
    assert any(name.startswith("memory.") for name in names)
    assert not any(name.startswith(("parity.", "throughput.")) for name in names)
    assert "throughput is left out: " in ended.err
    assert "others.jsonl" in ended.err


@pytest.mark.parametrize("threads", ["0", "-1", "5000"])
def test_a_number_of_threads_that_no_target_takes_is_refused(artifact: Path, capsys, threads: str):
    ended = in_process(capsys, "bench", str(artifact), "--threads", threads)
    assert ended.code == 2
    assert f"threads cannot be {threads}" in ended.err


def test_a_model_that_is_not_as_released_is_not_measured(artifact: Path, capsys):
    table = artifact / "model" / "table.safetensors"
    table.chmod(0o644)
    table.write_bytes(table.read_bytes()[:-1])
    ended = in_process(capsys, "bench", str(artifact))
    assert ended.code == 2
    assert "The model is not what was released: model/table.safetensors has" in ended.err


def test_where_nothing_can_be_measured_it_says_why(artifact: Path, capsys):
    recipe = yaml.safe_load((artifact / "recipe.yaml").read_text("utf-8"))
    recipe["validate"]["metrics"] = {"throughput": {"data": "others"}}
    (artifact / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    ended = in_process(capsys, "bench", str(artifact))
    assert ended.code == 4
    assert "Nothing of this artifact can be measured here" in ended.err
    assert "others.jsonl" in ended.err


def test_side_by_side_takes_the_latest_artifact_of_each_shipped_recipe(
    released: Bench, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert default_artifacts() == []
    for name in ("minilm-int8/1", "minilm-int8/10", "minilm-int8/9", "minilm-fp32/2", "of-someone-else/1"):
        shutil.copytree(released.artifacts / "toy" / "1", tmp_path / "artifacts" / name)
    found = {path.relative_to(tmp_path / "artifacts").as_posix() for path in default_artifacts()}
    assert found == {"minilm-int8/10", "minilm-fp32/2"}
