"""A whole run: steps, validation, gates, release, report."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from modelwright.api.model import Model
from modelwright.api.publisher import Published
from modelwright.artifact.artifact import Artifact
from modelwright.artifact.build import Release
from modelwright.engine.draft import ReportDraft
from modelwright.engine.listener import Listener
from modelwright.engine.steps import StepRunner
from modelwright.engine.validate import validate
from modelwright.errors import MissingError, ModelwrightError
from modelwright.planning.hardware import fingerprint
from modelwright.planning.plan import Plan
from modelwright.report.model import Report, Verdict
from modelwright.report.write import write_report
from modelwright.store.atomic import disk_errors
from modelwright.store.waiting_lock import waiting_lock
from modelwright.validation.gates import judge
from modelwright.validation.samples import Samples, record_samples

EXIT_CODES: dict[Verdict, int] = {"released": 0, "built": 0, "unchanged": 0, "rejected": 1, "failed": 3}


@dataclass(frozen=True)
class RunResult:
    """How a run ended. `artifact` is the version's folder; None when nothing stands."""

    report: Report
    run_folder: Path
    artifact: Path | None

    @property
    def exit_code(self) -> int:
        """0 when a version stands, 1 when a gate failed."""
        return EXIT_CODES[self.report.verdict]


def execute(plan: Plan, *, bench: bool = True, listener: Listener | None = None) -> RunResult:
    """Run a plan to its verdict; the report is written whatever happens.

    `bench=False` measures nothing: the run ends well only where an identical version stands already with
    evidence from this hardware, and raises MissingError elsewhere. Raises StageError when a step or a
    measurement fails, after writing the report of the failed run.
    """
    listener = listener or Listener()
    plan.workspace.prepare()
    draft = ReportDraft(plan, _run_id(), _now())
    folder = plan.workspace.artifacts / plan.recipe.name / "runs" / draft.run_id
    with disk_errors(plan.workspace.artifacts, "write the run's folder"):
        (folder / "logs").mkdir(parents=True)
        (folder / "recipe.yaml").write_text(plan.recipe.to_yaml(), encoding="utf-8")
    listener.planned(plan)
    try:
        published = _run(plan, draft, folder, bench, listener)
    except Exception as error:  # whatever it was, the run's report says so
        draft.fail(error.what if isinstance(error, ModelwrightError) else f"{type(error).__name__}: {error}")
        try:
            _finish(draft, folder)
        except (ModelwrightError, OSError) as second:
            error.add_note(f"The report of the failed run could not be written: {second}")
        raise
    report = _finish(draft, folder)
    return RunResult(report, folder, published.path if published else None)


def _run(plan: Plan, draft: ReportDraft, folder: Path, bench: bool, listener: Listener) -> Published | None:
    runner = StepRunner(plan, folder / "logs", listener)
    draft.steps = runner.results
    for model in plan.unread():
        plan.registry.formats[model.spec.format]().check(model.path, deep=True)
    for step in plan.steps:
        with draft.timed("steps"):
            runner.run(step)
    draft.models = runner.models
    candidate = runner.models[plan.steps[-1].name]
    if not bench:
        return _stand_by_evidence(draft, _latest(plan))
    with draft.timed("validation"):
        draft.validation = validate(plan, runner.models, folder / "logs", listener)
        samples = None
        if plan.target.runs:
            samples = record_samples(candidate, plan.target, folder / "logs" / "validation" / "samples.txt")
    plan.check_inputs_unchanged()
    # The plan lets this be asked for only where the target runs nothing.
    allowed = plan.recipe.text.validate_.allow_unmeasured
    draft.gates = judge(plan.recipe.gates, draft.validation.values, allowed)
    listener.judged(draft.gates)
    if any(gate.closes for gate in draft.gates):
        draft.verdict = "rejected"
        return None
    with waiting_lock(folder.parents[1] / ".release.lock", listener.release_waiting):
        return _release(plan, draft, candidate, samples)


def _release(plan: Plan, draft: ReportDraft, candidate: Model, samples: Samples | None) -> Published:
    """The next version, or the latest where that is the same: another run may have released it by now."""
    latest = _latest(plan)
    if latest and draft.equals(latest.path):
        draft.verdict, draft.version = "unchanged", latest.version
        return latest
    draft.verdict = "released" if plan.target.runs else "built"
    release = Release(
        report=draft.report(),
        model=candidate,
        source=plan.source,
        source_name=plan.recipe.text.model.path,
        recipe=plan.recipe.resolved(),
        samples=samples,
        started=draft.started,
        fingerprint=fingerprint(),
    )
    with disk_errors(plan.workspace.artifacts, "publish the artifact"):
        published = plan.recipe.publisher.publish(plan.workspace.artifacts, plan.recipe.name, release.write)
    draft.version = published.version
    return published


def _latest(plan: Plan) -> Published | None:
    return plan.recipe.publisher.latest(plan.workspace.artifacts, plan.recipe.name)


def _stand_by_evidence(draft: ReportDraft, latest: Published | None) -> Published:
    """The version that already holds this very model, if it was measured on this hardware."""
    if latest and draft.equals(latest.path):
        artifact = Artifact.open(latest.path)
        same = artifact.manifest.hardware_fingerprint == fingerprint()
        if same and artifact.manifest.software == draft.software():
            draft.take_evidence(artifact.report)
            draft.verdict, draft.version = "unchanged", latest.version
            return latest
    raise MissingError(
        "--no-bench was asked for, and no version of this very model has evidence from this hardware.",
        where="--no-bench",
        hint="run it once without --no-bench",
    )


def _finish(draft: ReportDraft, folder: Path) -> Report:
    report = draft.report()
    with disk_errors(folder, "write the report"):
        write_report(report, folder)
    return report


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _run_id() -> str:
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
