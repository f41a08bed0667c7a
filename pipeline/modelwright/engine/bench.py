"""Measures a released artifact on the machine it is on."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from pydantic import ValidationError

from modelwright.api.dataset import Dataset
from modelwright.api.metric import Metric, Value
from modelwright.api.model import Model
from modelwright.api.target import Target
from modelwright.artifact.artifact import Artifact
from modelwright.digest import digest_folder
from modelwright.errors import MissingError, ModelwrightError, RecipeError
from modelwright.planning.hardware import check_target
from modelwright.planning.source import find_source
from modelwright.recipe.origin import Origin
from modelwright.recipe.recipe import RecipeOutline, dataset_of, metric_of, outline
from modelwright.registry import Registry
from modelwright.validation.measure import Measuring

ARTIFACT = "artifact"
RECIPE_FILE = "recipe.yaml"


@dataclass(frozen=True)
class BenchResult:
    """Fresh figures of speed and memory, and the baseline they stand beside, if it was to be had.

    `left_out` says of each metric that could not be measured here why.
    """

    values: list[Value]
    baseline: Model | None
    why_no_baseline: str = ""
    left_out: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Measurable:
    """The metrics of speed and memory that can be measured here, with the data they read."""

    metrics: dict[str, Metric]
    datasets: dict[str, Dataset]
    left_out: dict[str, str]


def bench_artifact(
    artifact: Artifact, threads: int | None = None, say: Callable[[str], None] = lambda text: None
) -> BenchResult:
    """Measure speed and memory with the metrics of the artifact's own recipe.

    The checkpoint it was made from is measured beside it where it is on this machine, unchanged. What made
    the artifact (stages, their data) need not be here. Raises RecipeError for a number of threads that no
    target takes, or a model that is not as it was released, MissingError when the device or every metric is
    missing, or the artifact was built for other machines.
    """
    registry = Registry.load()
    file = artifact.path / RECIPE_FILE
    recipe = outline(yaml.safe_load(file.read_text(encoding="utf-8")), Origin((), {file: ""}))
    target = _target(artifact, threads)
    check_target(target, str(artifact.path))
    _require_runnable(artifact, target)
    usable = _measurable(registry, recipe)
    if not usable.metrics:
        reasons = "; ".join(f"{key}: {reason}" for key, reason in usable.left_out.items())
        raise MissingError(
            "Nothing of this artifact can be measured here.",
            where=str(file),
            hint=reasons or "its recipe has no metric of speed or memory",
        )
    baseline, reason = _baseline(registry, recipe, artifact)
    models = {"baseline": baseline, ARTIFACT: artifact.model} if baseline else {ARTIFACT: artifact.model}
    seed = recipe.text.seed
    with tempfile.TemporaryDirectory(prefix="modelwright-") as logs:
        measuring = Measuring(registry, usable.datasets, target, seed, Path(logs), say=say)
        observed = measuring.observe(models, usable.metrics)
    ours = observed[ARTIFACT]
    theirs = observed["baseline"] if baseline else ours
    values = [
        value
        for key, metric in usable.metrics.items()
        for value in metric.compare(theirs.rounds[key], ours.rounds[key], seed)
    ]
    if baseline is None:
        alone = {"baseline": None, "difference": None, "ratio": None, "noisy": False}
        values = [value.model_copy(update=alone) for value in values]
    return BenchResult(values, baseline, reason, usable.left_out)


def _require_runnable(artifact: Artifact, target: Target) -> None:
    if not target.runs:
        raise MissingError(
            "This version was built for other machines, and its target runs nothing here.",
            where=str(artifact.path),
            accepted="a version whose target runs",
            hint="release it where it runs: the same recipe with a target of that machine",
        )
    for problem in artifact.verify():
        if problem.file.startswith("model/"):
            raise RecipeError(
                f"The model is not what was released: {problem.file} {problem.what}.",
                where=str(artifact.path),
                hint="release it again, or copy the folder again; modelwright verify lists what is changed",
            )


def _target(artifact: Artifact, threads: int | None) -> Target:
    released = artifact.target
    if threads is None:
        return released
    try:
        return Target.model_validate({**released.model_dump(), "threads": threads})
    except ValidationError as error:
        raise RecipeError(
            f"threads cannot be {threads}: {error.errors()[0]['msg']}.", where="--threads"
        ) from error


def _measurable(registry: Registry, recipe: RecipeOutline) -> _Measurable:
    """Look up the metrics that are not of quality; one whose package or data is not here is left out."""
    usable = _Measurable({}, {}, {})
    for key in recipe.text.validate_.metrics:
        if key in registry.metrics and registry.metrics[key].group == "quality":
            continue
        try:
            metric = metric_of(registry, recipe, key)
            registry.metrics.require(key, recipe.origin.of(f"validate.metrics.{key}"))
            datasets = {name: dataset_of(registry, recipe, name) for name in metric.data_names()}
            for name, dataset in datasets.items():
                registry.datasets.require(dataset.name, recipe.origin.of(f"data.{name}"))
                dataset.check()
        except ModelwrightError as error:
            usable.left_out[key] = error.what
        else:
            usable.metrics[key] = metric
            usable.datasets.update(datasets)
    return usable


def _baseline(registry: Registry, recipe: RecipeOutline, artifact: Artifact) -> tuple[Model | None, str]:
    try:
        path, _, spec = find_source(registry, recipe)
    except ModelwrightError as error:
        return None, error.what
    digest = digest_folder(path)
    if digest != artifact.manifest.source["digest"]:
        return None, f"the checkpoint at {path} is not the one this artifact was made from"
    if missing := registry.formats[spec.format].missing():
        return None, f"running the checkpoint needs {', '.join(missing)}"
    return Model(path, spec, digest), ""
