"""What each step lost and won back of the figures that gates hold against the baseline."""

from __future__ import annotations

from collections.abc import Mapping

from modelwright.api.metric import Metric
from modelwright.api.model import Model
from modelwright.planning.plan import Plan
from modelwright.recipe.schema import Gate
from modelwright.report.model import StepRecovery
from modelwright.validation.measure import Measuring, compared

RELATIVE = frozenset(("drop_at_most", "rise_at_most"))


def step_recovery(plan: Plan, models: Mapping[str, Model], measuring: Measuring) -> list[StepRecovery]:
    """The figures after every step that changes the model; nothing where only one step does."""
    steps = [step for step in plan.steps if step.stage.fidelity != "exact"]
    gates = [gate for gate in plan.recipe.gates.values() if RELATIVE & gate.conditions.keys()]
    metrics = {key: metric for key, metric in plan.recipe.metrics.items() if _of_quality(key, metric, gates)}
    if len(steps) < 2 or not metrics:
        return []
    figures = {gate.metric for gate in gates}
    baseline = measuring.observe({"baseline": plan.baseline}, metrics)["baseline"]
    found = []
    for step in steps:
        after = measuring.observe({step.name: models[step.name]}, metrics)[step.name]
        values = [
            value
            for key, metric in metrics.items()
            for value in compared(metric, key, baseline, after, plan.recipe.text.seed)
            if value.name in figures
        ]
        found.append(StepRecovery(step=step.name, stage=step.stage.name, values=values))
    return found


def _of_quality(key: str, metric: Metric, gates: list[Gate]) -> bool:
    """Whether a metric is of quality on data, and gated."""
    gated = any(gate.metric.partition(".")[0] == key for gate in gates)
    return gated and metric.group == "quality" and bool(metric.data_names())
