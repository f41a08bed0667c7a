"""The report of a run while it is being made."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from modelwright.api.component import installed_version
from modelwright.api.model import Model
from modelwright.artifact.artifact import Artifact
from modelwright.digest import digest_json
from modelwright.engine.validate import BASELINE, CANDIDATE, Validated
from modelwright.planning.hardware import describe_hardware
from modelwright.planning.plan import Plan
from modelwright.report.clocks import clock_notes
from modelwright.report.model import (
    DataSummary,
    Environment,
    GateResult,
    ModelSummary,
    Report,
    StepResult,
    TimeSpent,
    Verdict,
)


class ReportDraft:
    """Collects what a run learns; `report` is what is known so far."""

    def __init__(self, plan: Plan, run_id: str, started: str) -> None:
        self.plan = plan
        self.run_id = run_id
        self.started = started
        self.verdict: Verdict = "failed"
        self.version: int | None = None
        self.failure: str | None = None
        self.steps: list[StepResult] = []
        self.models: Mapping[str, Model] = {}
        self.validation: Validated | None = None
        self.gates: list[GateResult] = []
        self._began = time.perf_counter()
        self._seconds = {"steps": 0.0, "validation": 0.0}
        self._notes = list(plan.notes)

    @contextmanager
    def timed(self, part: Literal["steps", "validation"]) -> Iterator[None]:
        """Count the wall-clock time of a block."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[part] += time.perf_counter() - started

    def fail(self, what: str) -> None:
        """The run failed for that reason."""
        self.verdict, self.failure = "failed", what

    def equals(self, artifact: Path) -> bool:
        """Whether an artifact, undamaged, holds this very model, made by this very recipe from this data."""
        found = Artifact.open(artifact)
        candidate = self._candidate
        return (
            candidate is not None
            and found.manifest.model_digest == candidate.digest
            and found.manifest.recipe_digest == digest_json(self.plan.recipe.resolved())
            and found.manifest.data == dict(self.plan.data_digests)
            and not found.verify()
        )

    def take_evidence(self, report: Report) -> None:
        """Show the figures and notes of an earlier run, saying so."""
        self.gates = report.gates
        self.validation = Validated(
            report.values,
            report.parity,
            report.recovery,
            {BASELINE: report.baseline.runtime},
            from_store=set(),
            records={},
            busy={},
            clocks={},
        )
        if report.candidate:
            self.validation.runtimes[CANDIDATE] = report.candidate.runtime
        self._notes.append(f"Nothing was measured in this run: run {report.run_id} did, on this hardware.")
        self._notes += [f"Of that run: {note}" for note in report.notes if note not in self.plan.notes]

    @property
    def _candidate(self) -> Model | None:
        return self.models.get(self.plan.steps[-1].name)

    def report(self) -> Report:
        """The report as far as the run has come."""
        plan, validation, candidate = self.plan, self.validation, self._candidate
        runtimes = validation.runtimes if validation else {}
        total = time.perf_counter() - self._began
        return Report(
            name=plan.recipe.name,
            description=plan.recipe.text.description,
            run_id=self.run_id,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            verdict=self.verdict,
            version=self.version,
            failure=self.failure,
            baseline=_summary(plan.recipe.text.model.path, plan.baseline, runtimes.get(BASELINE, {})),
            candidate=(
                _summary(plan.recipe.name, candidate, runtimes.get(CANDIDATE, {})) if candidate else None
            ),
            gates=self.gates,
            values=validation.values if validation else [],
            steps=self.steps,
            parity=validation.parity if validation else [],
            recovery=validation.recovery if validation else [],
            fused_operators=self._fused(candidate),
            data=self._data(),
            environment=Environment(
                hardware=describe_hardware(),
                software=self.software(),
                target=plan.target.summary(),
            ),
            time=TimeSpent(
                total=total,
                steps=self._seconds["steps"],
                validation=self._seconds["validation"],
                orchestration=max(0.0, total - sum(self._seconds.values())),
            ),
            reproduce=[
                "modelwright run recipe.yaml    # the recipe.yaml beside this report",
            ],
            notes=[
                *self._notes,
                *self._runtime_notes(),
                *self._load_notes(),
                *clock_notes(self.validation.clocks if self.validation else {}),
                *self._store_notes(),
            ],
        )

    def _runtime_notes(self) -> list[str]:
        """What the runtimes remark on how they ran the models."""
        runtimes = self.validation.runtimes if self.validation else {}
        return [
            f"Of the {name}: {runtime['note']}" for name, runtime in runtimes.items() if "note" in runtime
        ]

    def _load_notes(self) -> list[str]:
        busy = self.validation.busy if self.validation else {}
        if not busy:
            return []
        shares = ", ".join(f"{share:.0%} during {key}" for key, share in busy.items())
        return [
            f"Other processes used much of the CPUs ({shares}): these figures, and comparisons by them, are "
            "doubtful. Measure again on a quiet machine."
        ]

    def _store_notes(self) -> list[str]:
        kept = sorted(self.validation.from_store) if self.validation else []
        if not kept:
            return []
        return [
            f"{', '.join(kept)}: some observations were taken from the store, where they are kept by model, "
            "data, versions and hardware; speed and memory were measured in this run."
        ]

    def _fused(self, candidate: Model | None) -> dict[str, int]:
        if candidate is None:
            return {}
        format_ = self.plan.registry.formats[candidate.spec.format]()
        operators = format_.graph_operators(candidate)
        return {name: count for name, count in sorted(operators.items()) if name in format_.fused}

    def _data(self) -> list[DataSummary]:
        counts = self.validation.records if self.validation else {}
        return [
            DataSummary(
                name=name, use=item.name, digest=self.plan.data_digests[name], records=counts.get(name, {})
            )
            for name, item in self.plan.recipe.datasets.items()
        ]

    def software(self) -> dict[str, str]:
        """Versions of Python, of every plugin, and of what the recipe's components import."""
        plan = self.plan
        versions = {"python": platform.python_version()}
        for distribution in plan.registry.distributions:
            versions[distribution.name] = distribution.version
        used = [type(stage) for stage in plan.recipe.stages.values()]
        formats = [plan.registry.formats[stage.gives] for stage in used]
        for component in (*used, *formats, plan.registry.formats[plan.source.spec.format]):
            versions.update(component.versions())
        for name in ("numpy", "tokenizers", "hydra-core"):
            versions[name] = installed_version(name) or "?"
        return dict(sorted(versions.items()))


def _summary(title: str, model: Model, runtime: dict[str, str]) -> ModelSummary:
    size = sum(file.stat().st_size for file in model.path.rglob("*") if file.is_file())
    return ModelSummary(title=title, spec=model.spec, digest=model.digest, bytes=size, runtime=runtime)
