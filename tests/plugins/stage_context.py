"""A stage's context over a plain folder, for tests that run one stage in this process."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import JsonValue

from modelwright.api.dataset import Record, Split
from modelwright.api.format import Format
from modelwright.api.metric import Metric, MetricContext, Value
from modelwright.api.model import Model, ModelSpec
from modelwright.api.stage import Stage
from modelwright.api.target import Target


class FolderContext:
    """Implements `StageContext`; what the stage told it is in `described`, `records` and `steps`.

    >>> ctx = FolderContext(tmp_path, data={("docs", "calibration"): [{"text": "a text"}]})
    >>> result = ctx.apply(ExportOpenVINO(), model)
    >>> result.spec.format
    'openvino'
    """

    def __init__(
        self,
        folder: Path,
        *,
        data: Mapping[tuple[str, Split], Sequence[Record]] | None = None,
        formats: Mapping[str, Format] | None = None,
        models: Mapping[str, Model] | None = None,
        target: Target | None = None,
        seed: int = 0,
    ) -> None:
        self.folder = folder
        self.out = folder / "out"
        self.checkpoint_dir = folder / "checkpoint"
        self.out.mkdir(parents=True)
        self.checkpoint_dir.mkdir()
        self.cache_dir = folder / "cache"
        self.cache_dir.mkdir()
        self.target = target or Target(threads=2)
        self.seed = seed
        self.models: Mapping[str, Model] = dict(models or {})
        self.log = logging.getLogger("modelwright.stage")
        self.described: dict[str, object] = {}
        self.records: dict[str, JsonValue] = {}
        self.steps: list[tuple[int, int, str]] = []
        self._data = dict(data or {})
        self._formats = dict(formats or {})
        self._spec: ModelSpec | None = None

    def apply(self, stage: Stage, model: Model) -> Model:
        """Run a stage on a model and seal what it wrote, as the engine does."""
        tags = stage.tags_after(model.spec.tags)
        details = model.spec.details if stage.gives == model.spec.format else {}
        self._spec = model.spec.model_copy(update={"format": stage.gives, "tags": tags, "details": details})
        stage.run(model, self)
        return self.model(self.out)

    def data(self, name: str, split: Split) -> Sequence[Record]:
        return self._data[(name, split)]

    def measure(
        self, candidates: Mapping[str, Model], metrics: Sequence[Metric], baseline: Model | None = None
    ) -> dict[str, list[Value]]:
        reference = baseline or next(iter(candidates.values()))
        return {
            name: [
                value
                for metric in metrics
                for value in metric.compare(
                    self._observe(metric, reference), self._observe(metric, model), self.seed
                )
            ]
            for name, model in candidates.items()
        }

    def describe(self, **changes: object) -> None:
        self.described.update(changes)

    def model(self, folder: Path) -> Model:
        assert self._spec is not None, "FolderContext.model is for use while `apply` runs a stage"
        ModelSpec.model_validate(self._spec.model_dump() | self.described).write(folder)
        return Model.open(folder)

    def scratch(self, name: str) -> Path:
        folder = self.folder / "scratch" / name
        folder.mkdir(parents=True)
        return folder

    def where(self, parameter: str) -> str:
        return f"stages.trial.{parameter}"

    def record(self, name: str, value: JsonValue) -> None:
        self.records[name] = value

    def progress(self, done: int, total: int, what: str = "") -> None:
        self.steps.append((done, total, what))

    def _observe(self, metric: Metric, model: Model) -> list[Mapping[str, object]]:
        form = self._formats[model.spec.format]
        context = MetricContext(self.target, self.seed, form, self._data)
        runner = form.runner(model, self.target) if metric.needs_runner else None
        return list(metric.observe(model, runner, context))
