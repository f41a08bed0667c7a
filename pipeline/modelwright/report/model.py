"""The report as data. `report.json` is this model; the other renderings are made from it alone."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, JsonValue

from modelwright.api.metric import Value
from modelwright.api.model import ModelSpec

SCHEMA_VERSION = 1
Verdict = Literal["released", "built", "unchanged", "rejected", "failed"]


class Part(BaseModel):
    """Base of everything in a report: immutable, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class GateResult(Part):
    """One gate: what it asked, what was measured, whether it holds.

    `asked` is the condition in words; `measured` is the figure it was judged by, the pessimistic end of its
    interval (None when it was not measured, which fails); `reason` is one sentence. `excused` marks one that
    was not measured and does not close: the target runs nothing, and the recipe allows it.
    """

    name: str
    metric: str
    at: dict[str, int | str] = {}
    asked: str
    measured: float | None
    unit: str = ""
    passed: bool
    excused: bool = False
    reason: str

    @property
    def closes(self) -> bool:
        """Whether nothing is published because of it."""
        return not (self.passed or self.excused)


class ModelSummary(Part):
    """The baseline or the candidate."""

    title: str
    spec: ModelSpec
    digest: str
    bytes: int
    runtime: dict[str, str] = {}


class StepResult(Part):
    """One step of the chain. Memory in bytes; `seconds` is 0 for a step taken from the store."""

    name: str
    stage: str
    distribution: str
    parameters: dict[str, JsonValue]
    fidelity: str
    key: str
    cached: bool
    seconds: float
    predicted_memory: int
    peak_memory: int
    predicted_disk: int
    disk: int
    digest: str
    records: dict[str, JsonValue] = {}
    log: str = ""


class StepParity(Part):
    """Figures that compare a step's result with the model it should be equal to."""

    step: str
    reference: str
    values: list[Value]


class StepRecovery(Part):
    """The figures that gates hold against the baseline, as a step that changes the model left them."""

    step: str
    stage: str
    values: list[Value]


class DataSummary(Part):
    """A data set that was used: where from, what digest, how many records of each split."""

    name: str
    use: str
    digest: str
    records: dict[str, int]


class Environment(Part):
    """The machine and the versions the figures were measured with."""

    hardware: dict[str, str]
    software: dict[str, str]
    target: dict[str, JsonValue]


class TimeSpent(Part):
    """Where the run's wall-clock seconds went; `orchestration` is what remains of `total`."""

    total: float
    steps: float
    validation: float
    orchestration: float


class Report(Part):
    """A run, from what came in to the verdict.

    `verdict` is `released` (a new version), `built` (a new version whose model was not run), `unchanged`
    (equal to the latest version, which stands), `rejected` (a gate failed) or `failed` (a step or a
    measurement did). `version` is None unless a version stands. `values` are the figures of the whole chain,
    candidate against baseline.
    """

    schema_version: int = SCHEMA_VERSION
    name: str
    description: str = ""
    run_id: str
    created: str
    verdict: Verdict
    version: int | None = None
    failure: str | None = None
    baseline: ModelSummary
    candidate: ModelSummary | None = None
    gates: list[GateResult] = []
    values: list[Value] = []
    steps: list[StepResult] = []
    parity: list[StepParity] = []
    recovery: list[StepRecovery] = []
    fused_operators: dict[str, int] = {}
    data: list[DataSummary] = []
    environment: Environment
    time: TimeSpent
    reproduce: list[str] = []
    notes: list[str] = []
