"""Sweeps: Hydra's own multirun, one run of ours per job, one table at the end."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from modelwright.cli.output import complain, say, table
from modelwright.cli.watch import watcher
from modelwright.errors import ModelwrightError, RecipeError, StageError
from modelwright.recipe.compose import open_override, primary_config, search_path_override
from modelwright.registry import Registry
from modelwright.report.figures import label, of_value
from modelwright.report.model import Report
from modelwright.store.workspace import Workspace

RESULT_FILE = "result.txt"
SHOWN_FIGURES = 6


class Job(NamedTuple):
    """A finished job: its exit code, overrides, and its report when it came to one."""

    number: int
    code: int
    overrides: str
    report: Report | None


def run_sweep(
    source: str | None, overrides: Sequence[str], artifacts: Path | None, store: Path | None, *, bench: bool
) -> int:
    """Run every combination of the swept values; the worst exit code of the jobs is the sweep's."""
    import hydra

    registry = Registry.load()
    folder, name = primary_config(registry, source, overrides)
    workspace = Workspace.locate(artifacts, store)
    workspace.check()
    workspace.prepare()
    place = workspace.artifacts / "sweeps" / f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
    own_file = source is not None and folder / f"{name}.yaml" == Path(source).absolute()
    arguments = [
        "--multirun",
        search_path_override(registry),
        f"hydra.sweep.dir={_quoted(place)}",
        *([] if source is None or own_file else [f"recipe={source}"]),
        *map(open_override, overrides),
    ]

    def job(config: Any) -> None:
        from hydra.core.hydra_config import HydraConfig

        task = [str(text) for text in HydraConfig.get().overrides.task]
        number = int(HydraConfig.get().job.num)
        _run_job(source if own_file else None, task, number, place, workspace, bench=bench)

    before = sys.argv
    sys.argv = ["modelwright", *arguments]
    try:
        hydra.main(config_path=str(folder), config_name=name, version_base=None)(job)()
    except SystemExit as error:
        raise RecipeError(
            "The sweep could not start; Hydra's message is above.", hint="KEY=a,b sweeps over a and b"
        ) from error
    finally:
        sys.argv = before
    return _summarise(place)


def _run_job(
    source: str | None, task: Sequence[str], number: int, place: Path, workspace: Workspace, *, bench: bool
) -> None:
    from modelwright.main import run

    overrides = [text.removeprefix("++") for text in task]
    say(f"\n#{number}: {' '.join(overrides)}")
    listener = watcher()
    code, report = StageError.exit_code, ""
    try:
        result = run(
            source,
            overrides,
            artifacts=workspace.artifacts,
            store=workspace.store.root,
            bench=bench,
            listener=listener,
        )
        code, report = result.exit_code, result.report.model_dump_json()
    except ModelwrightError as error:
        complain(f"error: {error}")
        code = error.exit_code
    except Exception:  # a defect in one job must not take the others' results with it; it counts as failed
        traceback.print_exc()
    finally:
        listener.stop()
    file = place / str(number) / RESULT_FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join([str(code), " ".join(overrides), report]), encoding="utf-8")


def _summarise(place: Path) -> int:
    """Print one row for each job Hydra started; the worst exit code, 3 for a job that left no result."""
    folders = list(place.iterdir()) if place.is_dir() else []
    started = sorted(int(folder.name) for folder in folders if folder.name.isdigit())
    jobs = [_read_job(place, number) for number in started]
    reports = [job.report for job in jobs if job.report]
    if not jobs:
        raise RecipeError("The sweep has no jobs.", accepted="KEY=a,b with at least one value")
    gated = {gate.metric for report in reports for gate in report.gates}
    labels = (label(value) for report in reports for value in report.values if value.name in gated)
    figures = list(dict.fromkeys(labels))[:SHOWN_FIGURES]
    say()
    say(table(["#", "verdict", *figures, "overrides"], [_row(job, figures) for job in jobs]))
    return max(job.code for job in jobs)


def _read_job(place: Path, number: int) -> Job:
    file = place / str(number) / RESULT_FILE
    if not file.is_file():
        return Job(number, StageError.exit_code, "(it left no result)", None)
    code, overrides, text = file.read_text(encoding="utf-8").split("\n", 2)
    return Job(number, int(code), overrides, Report.model_validate_json(text) if text else None)


def _row(job: Job, figures: Sequence[str]) -> list[str]:
    shown = {label(value): of_value(value, "candidate") for value in job.report.values} if job.report else {}
    cells = [found.value if (found := shown.get(figure)) else "-" for figure in figures]
    verdict = job.report.verdict if job.report else f"exit {job.code}"
    return [str(job.number), verdict, *cells, job.overrides]


def _quoted(path: Path) -> str:
    """A path as Hydra's override grammar takes it."""
    escaped = str(path).replace("\\", "\\\\")
    for character in " ()[]{}:=,'\"":
        escaped = escaped.replace(character, f"\\{character}")
    return escaped
