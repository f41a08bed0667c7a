"""Bytes on disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from modelwright.api.metric import Metric, MetricContext, Observation, Value
from modelwright.api.model import Model
from modelwright.api.runner import Runner
from modelwright_plugins.metric.memory import bytes_value


class Size(Metric, name="size", needs_runner=False, figures=("disk",)):
    """Bytes of all files in the model's folder, tokenizer included."""

    def observe(self, model: Model, runner: Runner | None, ctx: MetricContext) -> Iterator[Observation]:
        """One round: the sum."""
        yield {"bytes": sum(file.stat().st_size for file in model.path.rglob("*") if file.is_file())}

    def compare(
        self, baseline: Sequence[Observation], candidate: Sequence[Observation], seed: int
    ) -> list[Value]:
        """Bytes of both, and how many times smaller."""
        return [bytes_value("size.disk", baseline[0]["bytes"], candidate[0]["bytes"])]
