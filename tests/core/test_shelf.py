"""Versions are counted, checked and labelled, also when one of them is damaged."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from modelwright.api.runner import Runner
from modelwright.artifact.artifact import Artifact
from modelwright.artifact.shelf import Shelf
from modelwright.errors import MissingError, RecipeError
from modelwright.store.atomic import disk_error
from modelwright.validation.samples import Samples
from modelwright_plugins.publish.local import Local
from tests.core.bench import Bench, in_process


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the toy recipe released version 1."""
    bench = Bench(tmp_path_factory.mktemp("made"))
    ended = bench.run()
    assert ended.code == 0, ended.err
    return bench.root


@pytest.fixture
def shelf(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    """A copy of it with two versions, as the current folder."""
    for version in (1, 2):
        folder = tmp_path / "artifacts" / "toy" / str(version)
        shutil.copytree(made / "artifacts" / "toy" / "1", folder)
        manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
        (folder / "manifest.json").chmod(0o644)
        (folder / "manifest.json").write_text(json.dumps({**manifest, "version": version}), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return Shelf(tmp_path / "artifacts")


def without_manifest(shelf: Shelf, version: int) -> None:
    (shelf.root / "toy" / str(version) / "manifest.json").unlink()


def build(folder: Path, version: int) -> None:
    (folder / "version.txt").write_text(str(version))


def test_the_number_of_a_version_without_a_manifest_is_not_given_again(shelf: Shelf):
    without_manifest(shelf, 2)
    assert shelf.versions("toy") == [1, 2]
    assert Local().publish(shelf.root, "toy", build).version == 3


def test_the_number_a_label_points_to_is_not_given_again(shelf: Shelf):
    shelf.promote("toy", "2", "production")
    shutil.rmtree(shelf.root / "toy" / "2")
    assert Local().publish(shelf.root, "toy", build).version == 3


def test_a_damaged_latest_version_does_not_stand_for_a_new_run(shelf: Shelf):
    assert Local().latest(shelf.root, "toy").version == 2
    without_manifest(shelf, 2)
    assert Local().latest(shelf.root, "toy") is None


def test_what_a_killed_publish_left_is_cleared_away(shelf: Shelf):
    left = shelf.root / "toy" / ".incoming" / "3.left"
    left.mkdir(parents=True)
    (left / "half").write_bytes(b"x")
    assert Local().publish(shelf.root, "toy", build).version == 3
    assert not list((shelf.root / "toy" / ".incoming").iterdir())


@pytest.mark.parametrize("damage", ["missing", "cut short"])
def test_verify_reports_a_manifest_that_does_not_read_and_goes_on(shelf: Shelf, capsys, damage: str):
    file = shelf.root / "toy" / "1" / "manifest.json"
    text = file.read_text("utf-8")
    file.unlink()
    if damage == "cut short":
        file.write_text(text[:100], encoding="utf-8")
    ended = in_process(capsys, "verify")
    assert ended.code == 1
    assert str(file) in ended.out
    assert f"{shelf.root / 'toy' / '2'}: 11 files intact" in ended.out
    assert in_process(capsys, "verify", "toy/1").code == 1
    assert in_process(capsys, "verify", "./artifacts/toy/1").code == 1
    assert in_process(capsys, "verify", "toy/2").code == 0


def test_verify_with_nothing_to_check_ends_with_4(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    ended = in_process(capsys, "verify")
    assert ended.code == 4
    assert "nothing to verify" in ended.err


@pytest.mark.parametrize("name", ["toi", "toy/9", "./nowhere"])
def test_verify_of_what_is_not_there_is_a_wrong_command(shelf: Shelf, capsys, name: str):
    assert in_process(capsys, "verify", "toy/1", name).code == 2


@pytest.mark.parametrize("tolerance", ["-1", "nan", "inf", "much"])
def test_verify_refuses_a_tolerance_that_is_none(shelf: Shelf, capsys, tolerance: str):
    ended = in_process(capsys, "verify", "--run", "--tolerance", tolerance)
    assert ended.code == 2
    assert "is no number of at least 0" in ended.err


def test_verify_goes_on_where_one_does_not_run_here(shelf: Shelf, capsys, monkeypatch):
    opened = Artifact.runner

    def runner(artifact: Artifact) -> Runner:
        if artifact.path.name == "1":
            raise MissingError("There is no GPU.", where="target.device", hint="have one")
        return opened(artifact)

    monkeypatch.setattr(Artifact, "runner", runner)
    ended = in_process(capsys, "verify", "--run", "toy/1", "toy/2")
    assert ended.code == 4
    assert "toy/1: not run: There is no GPU." in ended.out
    assert "next: have one" in ended.out
    assert "toy/2: outputs equal" in ended.out


def test_outputs_that_are_not_numbers_are_not_equal(shelf: Shelf, capsys, monkeypatch):
    assert in_process(capsys, "verify", "--run", "toy/1").code == 0
    monkeypatch.setattr(Samples, "deviation", lambda samples, runner: float(np.abs(np.array([np.nan])).max()))
    ended = in_process(capsys, "verify", "--run", "toy/1")
    assert ended.code == 1
    assert "outputs differ" in ended.out


def test_list_shows_a_damaged_version(shelf: Shelf, capsys):
    without_manifest(shelf, 2)
    ended = in_process(capsys, "list", "toy")
    assert ended.code == 0
    assert [line.split()[3] for line in ended.out.splitlines()[2:]] == ["bag", "damaged"]
    entries = json.loads(in_process(capsys, "list", "--json").out)
    assert [entry["damage"] is None for entry in entries] == [True, False]


def test_labels_that_do_not_read_are_refused_in_the_plan(shelf: Shelf):
    (shelf.root / "toy" / "labels.json").write_text("{")
    with pytest.raises(RecipeError, match="The labels are damaged"):
        Local().check(shelf.root, "toy")


@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, 4), (errno.EDQUOT, 4), (errno.EROFS, 2)])
def test_a_full_disk_is_something_missing(number: int, code: int, tmp_path: Path):
    error = disk_error(OSError(number, "no"), tmp_path, "publish the artifact")
    assert error.exit_code == code
    assert str(error.where) == str(tmp_path)
