"""The built wheel and a new plugin, installed side by side in a clean virtual environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from modelwright.scaffold.write import write_plugin
from modelwright.testing.absence import path_without

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a virtual environment that has our wheel, a new plugin's, and their dependencies."""
    if not (ROOT / "pipeline").is_dir():
        pytest.skip("the sources that the wheel is built from are not here")
    folder = tmp_path_factory.mktemp("installed")
    plugin = write_plugin("my-pruning", folder)
    wheels = folder / "wheels"
    for project in (ROOT, plugin):
        _call("-m", "build", "--wheel", "--no-isolation", "--outdir", str(wheels), str(project))
    _call("-m", "venv", "--without-pip", str(folder / "venv"))
    python = folder / "venv" / "bin" / "python"
    # Installing torch anew would take minutes, so the dependencies come from this environment: as links
    # to everything in it but modelwright, whose editable install would stand in for the wheel.
    own = sysconfig.get_path("purelib")
    entries = [entry for entry in sys.path if entry]
    links = dict(zip(entries, path_without(["modelwright"], folder / "links"), strict=True))[own]
    assert links != own
    site = Path(_call("-c", "import sysconfig; print(sysconfig.get_path('purelib'))", python=python).strip())
    (site / "dependencies.pth").write_text(f"{links}\n", encoding="utf-8")
    packages = map(str, wheels.glob("*.whl"))
    _call("-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", "--quiet", *packages)
    return python


def _call(*arguments: str, python: Path | str = sys.executable, cwd: Path | None = None) -> str:
    """Run Python with our own search path out of the way; its output."""
    clean = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTEST_ADDOPTS")}
    done = subprocess.run(
        [str(python), *arguments], cwd=cwd, env=clean, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_brings_its_own_code_and_yaml(environment: Path, tmp_path: Path) -> None:
    code = (
        "import json, modelwright, modelwright_plugins, modelwright_conf, modelwright_my_pruning\n"
        "from modelwright.registry import Registry\n"
        "modules = modelwright, modelwright_plugins, modelwright_conf, modelwright_my_pruning\n"
        "names = sorted(found.name for found in Registry.load().distributions)\n"
        "print(json.dumps([[module.__file__ for module in modules], names]))"
    )
    files, distributions = json.loads(_call("-c", code, python=environment, cwd=tmp_path))
    assert all(Path(file).is_relative_to(environment.parents[1]) for file in files), files
    assert distributions == ["modelwright", "modelwright-my-pruning"]
    recipes = _call("-m", "modelwright", "recipes", python=environment, cwd=tmp_path)
    assert "encoder-int8" in recipes


def test_the_command_explains_the_new_stage(environment: Path, tmp_path: Path) -> None:
    printed = _call("-m", "modelwright", "stages", "my_pruning.threshold", python=environment, cwd=tmp_path)
    assert "Weights of a magnitude below this become zero." in printed


def test_an_installed_modelwright_writes_plugins_too(environment: Path, tmp_path: Path) -> None:
    _call("-m", "modelwright", "new-plugin", "second", python=environment, cwd=tmp_path)
    assert (tmp_path / "modelwright-second" / "src" / "modelwright_second" / "threshold.py").is_file()


def test_the_plugins_own_tests_pass(environment: Path) -> None:
    plugin = environment.parents[2] / "modelwright-my-pruning"
    printed = _call("-m", "pytest", "-q", "-p", "no:cacheprovider", python=environment, cwd=plugin)
    assert "11 passed, 1 skipped" in printed, printed
