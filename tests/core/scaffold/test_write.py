from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from modelwright.cli.main import run_command
from modelwright.errors import RecipeError
from modelwright.scaffold.write import write_plugin


def test_the_package_is_whole_and_names_nothing_but_itself(tmp_path: Path) -> None:
    folder = write_plugin("my-pruning", tmp_path)
    assert folder == tmp_path / "modelwright-my-pruning"
    files = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
    assert files == {
        ".gitignore",
        "README.md",
        "pyproject.toml",
        "src/modelwright_my_pruning/__init__.py",
        "src/modelwright_my_pruning/plugin.py",
        "src/modelwright_my_pruning/py.typed",
        "src/modelwright_my_pruning/threshold.py",
        "tests/test_threshold.py",
    }
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["name"] == "modelwright-my-pruning"
    assert project["entry-points"]["modelwright"] == {"my-pruning": "modelwright_my_pruning.plugin"}
    for name in files:
        text = (folder / name).read_text(encoding="utf-8")
        assert "$" not in text, f"{name} has a place that was not filled in"
        if name.endswith(".py"):
            compile(text, name, "exec")
    assert list(tmp_path.iterdir()) == [folder]


def test_its_author_starts_without_a_lint_warning(tmp_path: Path) -> None:
    folder = write_plugin("tidy", tmp_path)
    rules = ["--isolated", "--no-cache", "--line-length", "110", "--select", "B,E,F,I,PTH,SIM,UP,W"]
    command = [sys.executable, "-m", "ruff", "check", *rules, "."]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "cannot be a plugin's name"),
        ("Mine", "modelwright new-plugin mine"),
        ("my_pruning", "modelwright new-plugin my-pruning"),
        ("2fast", "modelwright new-plugin fast"),
        ("a--b", "modelwright new-plugin a-b"),
        ("-m", "modelwright new-plugin m"),
        ("../up", "modelwright new-plugin up"),
        ("ünder", "cannot be a plugin's name"),
        ("new\nline", "modelwright new-plugin new-line"),
        ("a" * 41, "40 at most"),
        ("modelwright-mine", "modelwright new-plugin mine"),
        ("modelwright", "leave 'modelwright-' out"),
        ("json", "there is a module 'json' already"),
        ("plugins", "there is a module 'modelwright_plugins' already"),
    ],
)
def test_a_bad_name_is_refused_with_a_better_one(name: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        write_plugin(name, tmp_path)
    assert words in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_there_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "modelwright-mine"
    mine.mkdir()
    assert run_command(["new-plugin", "mine", "--into", str(tmp_path)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert not list(mine.iterdir())


def test_a_place_that_cannot_be_written_to_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.write_text("")
    assert run_command(["new-plugin", "mine", "--into", str(file)]) == 2
    error = capsys.readouterr().err
    assert str(file) in error
    assert "--into DIR" in error


def test_nothing_is_left_of_a_write_that_failed(tmp_path: Path) -> None:
    # Files larger than 1,000 bytes cannot be written by this process: some of the package's are.
    code = (
        "import resource, sys; from modelwright.cli.main import run_command; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)); "
        "sys.exit(run_command(['new-plugin', 'mine', '--into', sys.argv[1]]))"
    )
    done = subprocess.run(
        [sys.executable, "-B", "-c", code, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert "cannot be written: File too large" in done.stderr
    assert not list(tmp_path.iterdir())


def test_the_command_says_what_to_do_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["new-plugin", "mine", "--into", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert f"cd {tmp_path / 'modelwright-mine'} && pip install -e '.[test]' && pytest" in printed
