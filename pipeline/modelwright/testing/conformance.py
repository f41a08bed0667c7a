"""What every stage has to keep, as tests to inherit.

from modelwright.testing.conformance import StageConformance

class TestMine(StageConformance):
    stage = MyStage
    parameters = {"sparsity": 0.5}
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pydantic import ValidationError

from modelwright.api.component import installed_version
from modelwright.api.model import Task
from modelwright.api.stage import Stage
from modelwright.digest import digest_folder, list_folder
from modelwright.pickles import pickles
from modelwright.registry import Registry
from modelwright.testing.absence import run_without, top_names
from modelwright.testing.stage_runs import StageRun, StageRuns, Steps
from modelwright.validation.samples import record_samples

# Each of these takes a second or more to import, or opens a device.
HEAVY = {
    *("torch", "transformers", "tensorflow", "jax", "onnx", "onnxruntime", "onnxscript", "openvino", "nncf"),
    *("tensorrt", "vllm", "optimum", "accelerate", "bitsandbytes", "datasets", "pyarrow"),
    *("pandas", "scipy", "sklearn", "hydra"),
}
_IMPORTED = """
import importlib, sys
import modelwright.hookspecs, modelwright.errors
before = set(sys.modules)
importlib.import_module(sys.argv[1])
print(*{name.partition(".")[0] for name in set(sys.modules) - before})
"""


class StageConformance:
    """Inherit, name the class Test…, and set `stage`.

    `parameters` are those of the recipe; a data set called `texts` is there for a field named `data`.
    `task` is that of the tiny model. `before` are the steps that make the stage's input, where built-in
    stages without parameters cannot. `target` is the recipe's.
    """

    stage: ClassVar[type[Stage]]
    parameters: ClassVar[Mapping[str, Any]] = {}
    task: ClassVar[Task] = "embed"
    before: ClassVar[Steps | None] = None
    target: ClassVar[Mapping[str, Any] | None] = None

    def test_it_is_registered(self) -> None:
        """An entry point of the group `modelwright` yields this very class, under its name."""
        registry = Registry.load()
        assert self.stage.name in registry.stages, (
            f"no entry point of the group 'modelwright' yields '{self.stage.name}'; "
            "is the package installed, and does its modelwright_stages yield the class?"
        )
        assert registry.stages[self.stage.name] is self.stage
        for format_ in (self.stage.takes, self.stage.gives):
            assert format_ in registry.formats, f"no plugin registers the format '{format_}'"

    def test_it_is_documented(self) -> None:
        """`modelwright stages NAME` has something to say of the stage and of each parameter."""
        assert (self.stage.__dict__.get("__doc__") or "").strip(), (
            f"{self.stage.__qualname__} has no docstring"
        )
        silent = [name for name, field in self.stage.model_fields.items() if not field.description]
        assert not silent, f"parameters without a description: {', '.join(silent)}"

    def test_it_refuses_an_unknown_parameter(self) -> None:
        """A typo in a recipe is refused, not ignored."""
        with pytest.raises(ValidationError) as caught:
            self.stage.model_validate({**self.parameters, "no_such_parameter": 1})
        assert [error["type"] for error in caught.value.errors()] == ["extra_forbidden"]

    def test_its_parameters_survive_json(self) -> None:
        """They cross a process boundary and enter the key of the step as JSON."""
        stage = self.stage.model_validate(dict(self.parameters))
        assert self.stage.model_validate_json(stage.model_dump_json()) == stage

    def test_its_module_imports_nothing_heavy(self) -> None:
        """A plan imports every stage there is; runtimes are imported inside `run`."""
        done = subprocess.run(
            [sys.executable, "-c", _IMPORTED, self.stage.__module__],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        required = {name for text in self.stage.requires for name in _modules(text)}
        imported = set(done.stdout.split()) & (HEAVY | required)
        assert not imported, f"importing {self.stage.__module__} imports {', '.join(sorted(imported))}"

    def test_it_runs(self, run_stage: StageRuns) -> None:
        """The result is of the format the class promises and carries its tags."""
        run = self._run(run_stage)
        assert run.after.spec.format == self.stage.gives
        assert set(self.stage.adds) <= set(run.after.spec.tags)

    def test_its_result_runs(self, run_stage: StageRuns, tmp_path: Path) -> None:
        """The runner of the result's format loads it and gives finite numbers."""
        run = self._run(run_stage)
        Registry.load().formats[self.stage.gives]().check(run.after.path, deep=True)
        samples = record_samples(run.after, run.target, tmp_path / "samples.txt")
        assert np.isfinite(np.array(samples.outputs)).all()

    def test_it_repeats_exactly(self, run_stage: StageRuns) -> None:
        """Two runs in two folders give the same bytes: nothing depends on time, place or chance."""
        first, second = self._run(run_stage), self._run(run_stage, attempt=1)
        before, after = list_folder(first.after.path), list_folder(second.after.path)
        differing = [name for name in sorted({*before, *after}) if before.get(name) != after.get(name)]
        assert not differing, f"two runs differ in {', '.join(differing)}"

    def test_it_leaves_its_input_alone(self, run_stage: StageRuns) -> None:
        """The folder that came in has the digest it had before."""
        run = self._run(run_stage)
        assert digest_folder(run.before.path) == run.before.digest, "the stage changed its input"

    def test_it_writes_no_pickle(self, run_stage: StageRuns) -> None:
        """No file of the result, whatever it is called, can run code when it is loaded."""
        found = pickles(self._run(run_stage).after.path)
        assert not found, f"pickles: {', '.join(found)}"

    def test_a_missing_package_is_named(self, run_stage: StageRuns, tmp_path: Path) -> None:
        """Where a package of `requires` is not installed, the plan says which and ends with exit code 4."""
        wanted = [Requirement(text).name for text in self.stage.requires]
        own = _base_dependencies()
        names = [name for name in wanted if canonicalize_name(name) not in own and installed_version(name)]
        if not names:
            pytest.skip("it requires no package beyond modelwright's own")
        recipe = run_stage.recipe(self.stage, self.parameters, **self._circumstances())
        for name in names:
            command = ["-m", "modelwright", "plan", str(recipe), "--artifacts", str(tmp_path / "artifacts")]
            done = run_without(name, command, tmp_path / f"without-{name}")
            assert done.returncode == 4, f"without {name}: exit code {done.returncode}\n{done.stderr}"
            assert name in done.stderr

    def _run(self, run_stage: StageRuns, attempt: int = 0) -> StageRun:
        return run_stage(self.stage, self.parameters, **self._circumstances(), attempt=attempt)

    def _circumstances(self) -> dict[str, Any]:
        return {"task": self.task, "before": self.before, "target": self.target}


def _modules(requirement: str) -> set[str]:
    """The modules that a required distribution installs."""
    try:
        found = metadata.distribution(Requirement(requirement).name)
    except metadata.PackageNotFoundError:
        return set()
    names = {name.partition(".")[0] for name in top_names(found) if not name.endswith((".dist-info", ".pth"))}
    return {name for name in names if name.isidentifier()}


def _base_dependencies() -> set[str]:
    """Distributions without which modelwright itself does not start."""
    requirements = map(Requirement, metadata.requires("modelwright") or ())
    return {canonicalize_name(found.name) for found in requirements if found.marker is None}
