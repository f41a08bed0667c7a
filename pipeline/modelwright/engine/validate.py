"""Validates a chain: the candidate against the input, each step against what it should equal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from modelwright.api.metric import Metric, Value
from modelwright.api.model import Model
from modelwright.engine.listener import Listener
from modelwright.planning.plan import Plan
from modelwright.report.model import StepParity
from modelwright.validation.measure import Measuring, Observed

BASELINE = "baseline"
CANDIDATE = "candidate"
PARITY = "parity"


@dataclass(frozen=True)
class Validated:
    """Figures of the whole chain, parity of each step, what ran, and which figures were kept ones.

    `busy` is the share of the CPUs that other processes used during a metric of speed, where it was large.
    """

    values: list[Value]
    parity: list[StepParity]
    runtimes: dict[str, dict[str, str]]
    from_store: set[str]
    records: dict[str, dict[str, int]]
    busy: dict[str, float]


def validate(plan: Plan, models: Mapping[str, Model], logs: Path, listener: Listener) -> Validated:
    """Measure baseline and candidate with every metric of the recipe, and parity after every step."""
    measuring = Measuring(
        plan.registry,
        plan.recipe.datasets,
        plan.target,
        plan.recipe.text.seed,
        logs,
        plan.workspace.store,
        listener.validating,
        plan.check_inputs_unchanged,
    )
    candidate = models[plan.steps[-1].name]
    metrics = plan.recipe.metrics
    observed = measuring.observe({BASELINE: plan.baseline, CANDIDATE: candidate}, metrics)
    values = [
        value
        for key, metric in metrics.items()
        for value in _compare(metric, key, observed[BASELINE], observed[CANDIDATE], plan.recipe.text.seed)
    ]
    return Validated(
        values,
        _step_parity(plan, models, measuring),
        {name: item.runtime for name, item in observed.items()},
        {key for item in observed.values() for key in item.from_store},
        _records(observed[CANDIDATE]),
        measuring.busy,
    )


def _records(observed: Observed) -> dict[str, dict[str, int]]:
    """Records read of each data set, by split."""
    counts: dict[str, dict[str, int]] = {}
    for (name, split), count in observed.records.items():
        counts.setdefault(name, {})[split] = count
    return counts


def _compare(metric: Metric, key: str, baseline: Observed, candidate: Observed, seed: int) -> list[Value]:
    if not baseline.rounds.get(key) or not candidate.rounds.get(key):
        return []  # a metric that observed nothing has measured nothing, and its gates are closed
    return metric.compare(baseline.rounds[key], candidate.rounds[key], seed)


def _step_parity(plan: Plan, models: Mapping[str, Model], measuring: Measuring) -> list[StepParity]:
    """Parity of each step's result with the last retrained model, or the input.

    A retrained step starts a new line: it is equal to nothing before it.
    """
    metric = plan.recipe.metrics.get(PARITY)
    if metric is None:
        return []
    parity = []
    reference, reference_name = plan.baseline, "the input"
    for step in plan.steps:
        model = models[step.name]
        if step.stage.fidelity == "retrained":
            reference, reference_name = model, step.name
            continue
        pair = measuring.observe({BASELINE: reference, step.name: model}, {PARITY: metric})
        values = _compare(metric, PARITY, pair[BASELINE], pair[step.name], plan.recipe.text.seed)
        parity.append(StepParity(step=step.name, reference=reference_name, values=values))
    return parity
