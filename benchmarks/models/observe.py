"""Figures of models in this process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from modelwright.api.dataset import Record
from modelwright.api.metric import Metric, MetricContext, Observation
from modelwright.api.model import Model
from modelwright.api.target import Target
from modelwright.registry import Registry


def observe(
    metric: Metric, models: Sequence[Model], test: Mapping[str, Sequence[Record]] | None = None
) -> list[Sequence[Observation]]:
    """The rounds of each model in its own runtime; they take turns, the first round of all being first.

    `test` are the records that the metric reads, by the name that its fields have for them.
    """
    formats, target = Registry.load().formats, Target().resolved()
    records = {(name, metric.split): found for name, found in (test or {}).items()}
    turns = []
    for model in models:
        form = formats[model.spec.format]()
        context = MetricContext(target, 0, form, records)
        turns.append(metric.observe(model, form.runner(model, target), context))
    return [*zip(*zip(*turns, strict=True), strict=True)]
