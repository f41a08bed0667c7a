"""Figures of models, each in a process of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from modelwright.api.dataset import Dataset
from modelwright.api.metric import Metric, Observation
from modelwright.api.model import Model
from modelwright.api.target import Target
from modelwright.registry import Registry
from modelwright.validation.measure import Measuring


def observe(
    metric: Metric, models: Sequence[Model], data: Mapping[str, Dataset] | None = None
) -> list[Sequence[Observation]]:
    """The rounds of each model in its own runtime; where speed is measured, all take turns.

    `data` are the data sets that the metric reads, by the name that its fields have for them.
    """
    with tempfile.TemporaryDirectory() as logs:
        measuring = Measuring(Registry.load(), data or {}, Target().resolved(), 0, Path(logs))
        named = {str(number): model for number, model in enumerate(models)}
        found = measuring.observe(named, {metric.name: metric})
    return [found[name].rounds[metric.name] for name in named]
