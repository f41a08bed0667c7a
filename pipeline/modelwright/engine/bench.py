"""Measures a released artifact on the machine it is on."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml

from modelwright.api.metric import Value
from modelwright.api.model import Model
from modelwright.api.target import Target
from modelwright.artifact.artifact import Artifact
from modelwright.digest import digest_folder
from modelwright.errors import ModelwrightError
from modelwright.planning.source import find_source
from modelwright.recipe.origin import Origin
from modelwright.recipe.recipe import Recipe, resolve
from modelwright.registry import Registry
from modelwright.validation.measure import Measuring

ARTIFACT = "artifact"


@dataclass(frozen=True)
class BenchResult:
    """Fresh figures of speed and memory, and the baseline they stand beside, if it was to be had."""

    values: list[Value]
    baseline: Model | None
    why_no_baseline: str = ""


def bench_artifact(
    artifact: Artifact, threads: int | None = None, say: Callable[[str], None] = lambda text: None
) -> BenchResult:
    """Measure speed and memory with the metrics of the artifact's own recipe.

    The checkpoint it was made from is measured beside it where it is on this machine, unchanged.
    """
    registry = Registry.load()
    config = yaml.safe_load((artifact.path / "recipe.yaml").read_text(encoding="utf-8"))
    recipe = resolve(registry, config, Origin((), {artifact.path / "recipe.yaml": ""}))
    target = Target.model_validate(artifact.manifest.target)
    if threads:
        target = target.model_copy(update={"threads": threads})
    metrics = {key: metric for key, metric in recipe.metrics.items() if metric.group != "quality"}
    baseline, reason = _baseline(registry, recipe, artifact)
    models = {"baseline": baseline, ARTIFACT: artifact.model} if baseline else {ARTIFACT: artifact.model}
    with tempfile.TemporaryDirectory(prefix="modelwright-") as logs:
        measuring = Measuring(registry, recipe.datasets, target, recipe.text.seed, Path(logs), say=say)
        observed = measuring.observe(models, metrics)
    ours = observed[ARTIFACT]
    theirs = observed["baseline"] if baseline else ours
    values = [
        value
        for key, metric in metrics.items()
        for value in metric.compare(theirs.rounds[key], ours.rounds[key], recipe.text.seed)
    ]
    if baseline is None:
        alone = {"baseline": None, "difference": None, "ratio": None, "noisy": False}
        values = [value.model_copy(update=alone) for value in values]
    return BenchResult(values, baseline, reason)


def _baseline(registry: Registry, recipe: Recipe, artifact: Artifact) -> tuple[Model | None, str]:
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
