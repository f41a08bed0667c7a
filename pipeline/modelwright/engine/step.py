"""The worker's side of a step: build the stage, run it, check what it wrote."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from modelwright.api.dataset import Dataset, Record, Split
from modelwright.api.metric import Metric, Value
from modelwright.api.model import SPEC_FILE, Model, ModelSpec
from modelwright.api.stage import Stage
from modelwright.api.target import Target
from modelwright.digest import digest_folder
from modelwright.errors import RecipeError, StageError
from modelwright.pickles import pickles
from modelwright.process.channel import Channel
from modelwright.registry import Registry
from modelwright.validation.measure import Measuring

HANDLER = f"{__name__}:run_step"


class WorkerContext:
    """The StageContext of a real run."""

    def __init__(
        self,
        registry: Registry,
        stage: Stage,
        model: Model,
        payload: Mapping[str, Any],
        datasets: Mapping[str, Dataset],
        channel: Channel,
        scratch: Path,
    ) -> None:
        self.out = Path(payload["out"])
        self.checkpoint_dir = Path(payload["checkpoint_dir"])
        self.cache_dir = Path(payload["cache_dir"])
        self.target = Target.model_validate(payload["target"])
        self.seed: int = payload["seed"]
        self.log = logging.getLogger(stage.name)
        self.models: Mapping[str, Model] = {
            field: Model.from_dict(item) for field, item in payload["models"].items()
        }
        self.records: dict[str, JsonValue] = {}
        self._name: str = payload["name"]
        self._registry = registry
        self._stage = stage
        self._input = model
        self._datasets = datasets
        self._channel = channel
        self._scratch = scratch
        self._logs = Path(payload["logs"])
        self._changes: dict[str, Any] = {}

    def data(self, name: str, split: Split) -> Sequence[Record]:
        """The records of one split of a data set that the stage's parameters name."""
        return self._datasets[name].load(split)

    def measure(
        self, candidates: Mapping[str, Model], metrics: Sequence[Metric], baseline: Model | None = None
    ) -> dict[str, list[Value]]:
        """Each candidate's figures against the baseline, or against the first candidate."""
        measuring = Measuring(
            self._registry, self._datasets, self.target, self.seed, self._logs, say=self.log.info
        )
        models = {"baseline": baseline, **candidates} if baseline else dict(candidates)
        named = {metric.name: metric for metric in metrics}
        observed = measuring.observe(models, named)
        reference = observed[next(iter(models))]
        return {
            name: [
                value
                for key, metric in named.items()
                for value in metric.compare(reference.rounds[key], observed[name].rounds[key], self.seed)
            ]
            for name in candidates
        }

    def describe(self, **changes: object) -> None:
        """Change fields of the result's spec."""
        self._changes.update(changes)

    def model(self, folder: Path) -> Model:
        """A handle on a folder as if it were the result."""
        return Model(folder, self.spec(), digest_folder(folder))

    def scratch(self, name: str) -> Path:
        """A new empty folder, removed when the step ends."""
        folder = self._scratch / name
        folder.mkdir(parents=True)
        return folder

    def where(self, parameter: str) -> str:
        """Where the recipe sets a parameter of this step."""
        return f"stages.{self._name}.{parameter}"

    def record(self, name: str, value: JsonValue) -> None:
        """Keep a table, curve or decision for the report. Raises StageError for what JSON cannot hold."""
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise StageError(
                f"The record '{name}' cannot be kept: {error}.",
                where=f"stage {self._stage.name}",
                accepted="text, finite numbers, lists and mappings of them (float(x) for a NumPy number)",
            ) from error
        self.records[name] = value

    def progress(self, done: int, total: int, what: str = "") -> None:
        """Tell the parent how far the stage is."""
        self._channel.send("progress", done=done, total=total, what=what)

    def spec(self) -> ModelSpec:
        """The spec of the result: the input's, with the stage's format and tags and what it described.

        Details are a format's own, so that they stay where the format does.
        """
        before = self._input.spec
        details = before.details if self._stage.gives == before.format else {}
        tags = self._stage.tags_after(before.tags)
        return ModelSpec.model_validate(
            {
                **before.model_dump(),
                "details": details,
                **self._changes,
                "format": self._stage.gives,
                "tags": tags,
            }
        )


def run_step(payload: dict[str, Any], channel: Channel) -> dict[str, Any]:
    """Run one stage and return what it recorded. The result lies in `payload["out"]`, spec included."""
    registry = Registry.load()
    stage = registry.stages.restore(payload["stage"])
    model = Model.from_dict(payload)
    datasets = {name: registry.datasets.restore(item) for name, item in payload["datasets"].items()}
    with tempfile.TemporaryDirectory(prefix="scratch-", dir=Path(payload["out"]).parent) as scratch:
        ctx = WorkerContext(registry, stage, model, payload, datasets, channel, Path(scratch))
        stage.run(model, ctx)
    (ctx.out / SPEC_FILE).unlink(missing_ok=True)  # a stage may have copied its input's
    _check_result(registry, stage, ctx.out)
    ctx.spec().write(ctx.out)
    return {"records": ctx.records}


def _check_result(registry: Registry, stage: Stage, out: Path) -> None:
    if not any(out.iterdir()):
        raise StageError(f"The stage '{stage.name}' wrote nothing.", where=str(out))
    if links := [file.relative_to(out).as_posix() for file in out.rglob("*") if file.is_symlink()]:
        raise StageError(
            f"The stage '{stage.name}' wrote a link: {links[0]}.",
            where=f"stage {stage.name}",
            accepted="files; what a link points to can change after it was measured",
        )
    if found := pickles(out):
        raise StageError(
            f"The stage '{stage.name}' wrote a pickle: {found[0]}.",
            where=f"stage {stage.name}",
            accepted="safetensors, ONNX, JSON and other formats that hold data only",
        )
    try:
        registry.formats[stage.gives]().check(out)
    except RecipeError as error:
        raise StageError(
            f"The stage '{stage.name}' wrote a folder that is not of format {stage.gives}: {error.what}",
            where=error.where,
        ) from error
