"""Validates a chain: the candidate against the input, each step against what it should equal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from modelwright.api.metric import Value
from modelwright.api.model import Model
from modelwright.engine.listener import Listener
from modelwright.engine.recovery import step_recovery
from modelwright.planning.checks import PARITY
from modelwright.planning.plan import Plan
from modelwright.process.nvml import Clock
from modelwright.report.model import StepParity, StepRecovery
from modelwright.validation.measure import Measuring, Observed, compared

BASELINE = "baseline"
CANDIDATE = "candidate"


@dataclass(frozen=True)
class Validated:
    """Figures of the whole chain and of each step, what ran, and which figures were kept ones.

    `busy` is the share of the CPUs that other processes used during a metric of speed, where it was large,
    `clocks` what a GPU ran at meanwhile.
    """

    values: list[Value]
    parity: list[StepParity]
    recovery: list[StepRecovery]
    runtimes: dict[str, dict[str, str]]
    from_store: set[str]
    records: dict[str, dict[str, int]]
    busy: dict[str, float]
    clocks: dict[str, list[Clock]]


def validate(plan: Plan, models: Mapping[str, Model], logs: Path, listener: Listener) -> Validated:
    """Measure baseline and candidate with every metric of the recipe, and parity after every step.

    For a target that runs nothing here, the metrics that read files alone.
    """
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
    if not plan.target.runs:
        metrics = {key: metric for key, metric in metrics.items() if not metric.needs_runner}
    observed = measuring.observe({BASELINE: plan.baseline, CANDIDATE: candidate}, metrics)
    values = [
        value
        for key, metric in metrics.items()
        for value in compared(metric, key, observed[BASELINE], observed[CANDIDATE], plan.recipe.text.seed)
    ]
    return Validated(
        values,
        _step_parity(plan, models, measuring) if plan.target.runs else [],
        step_recovery(plan, models, measuring) if plan.target.runs else [],
        {name: item.runtime for name, item in observed.items()},
        {key for item in observed.values() for key in item.from_store},
        _records(observed[CANDIDATE]),
        measuring.busy,
        measuring.clocks,
    )


def _records(observed: Observed) -> dict[str, dict[str, int]]:
    """Records read of each data set, by split."""
    counts: dict[str, dict[str, int]] = {}
    for (name, split), count in observed.records.items():
        counts.setdefault(name, {})[split] = count
    return counts


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
        values = compared(metric, PARITY, pair[BASELINE], pair[step.name], plan.recipe.text.seed)
        parity.append(StepParity(step=step.name, reference=reference_name, values=values))
    return parity
