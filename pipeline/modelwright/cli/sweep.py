"""Sweeps: Hydra's own multirun, one run of ours per job, one table at the end."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from modelwright.cli.output import say, table
from modelwright.errors import ModelwrightError, RecipeError, StageError
from modelwright.recipe.compose import open_override, primary_config, search_path_override
from modelwright.registry import Registry
from modelwright.report.figures import label, of_value
from modelwright.report.model import Report
from modelwright.store.workspace import Workspace

# Where jobs leave their results; a launcher may run them in processes of their own.
RESULTS_VARIABLE = "MODELWRIGHT_SWEEP_RESULTS"


def run_sweep(
    source: str | None, overrides: Sequence[str], artifacts: Path | None, store: Path | None, *, bench: bool
) -> int:
    """Run every combination of the swept values; the worst exit code of the jobs is the sweep's."""
    import hydra

    registry = Registry.load()
    folder, name = primary_config(registry, source, overrides)
    workspace = Workspace.locate(artifacts, store)
    own = (
        []
        if source is None or str(folder / f"{name}.yaml") == str(Path(source).absolute())
        else [f"recipe={source}"]
    )
    with tempfile.TemporaryDirectory(prefix="modelwright-sweep-") as results:
        os.environ[RESULTS_VARIABLE] = results
        arguments = [
            "--multirun",
            search_path_override(registry),
            # Hydra's folder of a job holds its logs; the run's own folder is the artifact's.
            f"hydra.sweep.dir={_quoted(workspace.artifacts / 'sweeps')}/${{now:%Y%m%dT%H%M%S}}",
            *own,
            *map(open_override, overrides),
        ]
        places = (str(workspace.artifacts), str(workspace.store.root), bench)

        def job(config: Any) -> None:
            from hydra.core.hydra_config import HydraConfig

            task = list(HydraConfig.get().overrides.task)
            number = int(HydraConfig.get().job.num)
            _job(source, task, number, places)

        decorated = hydra.main(config_path=str(folder), config_name=name, version_base=None)(job)
        before = sys.argv
        sys.argv = ["modelwright", *arguments]
        try:
            decorated()
        except SystemExit as error:
            raise RecipeError(
                "The sweep could not start; Hydra's message is above.", hint="KEY=a,b sweeps over a and b"
            ) from error
        finally:
            sys.argv = before
            del os.environ[RESULTS_VARIABLE]
        return _summary(Path(results))


def _job(source: str | None, task: Sequence[str], number: int, places: tuple[str, str, bool]) -> None:
    from modelwright.cli.watch import watcher
    from modelwright.main import run

    artifacts, store, bench = places
    overrides = [text.removeprefix("++") for text in task]
    if any(text.startswith("recipe=") for text in overrides):
        source = None
    results = Path(os.environ[RESULTS_VARIABLE])
    say(f"\n#{number}: {' '.join(overrides)}")
    listener = watcher()
    code, report = StageError.exit_code, ""
    try:
        result = run(source, overrides, artifacts=artifacts, store=store, bench=bench, listener=listener)
        code, report = result.exit_code, result.report.model_dump_json()
    except ModelwrightError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        code = error.exit_code
    finally:
        listener.stop()
    lines = [str(code), " ".join(overrides), report]
    (results / f"{number:05d}.txt").write_text("\n".join(lines), encoding="utf-8")


def _summary(results: Path) -> int:
    """Print one row for each job; the worst exit code."""
    worst = 0
    rows: list[list[str]] = []
    figures: list[str] = []
    for file in sorted(results.glob("*.txt")):
        code, overrides, text = file.read_text(encoding="utf-8").split("\n", 2)
        worst = max(worst, int(code))
        report = Report.model_validate_json(text) if text else None
        if report and not figures:
            gated = [gate.metric for gate in report.gates]
            figures = [label(value) for value in report.values if value.name in gated][:6]
        shown = {label(value): of_value(value, "candidate") for value in report.values} if report else {}
        cells = [found.value if (found := shown.get(figure)) else "-" for figure in figures]
        rows.append(
            [file.stem.lstrip("0") or "0", report.verdict if report else f"exit {code}", *cells, overrides]
        )
    say()
    say(table(["#", "verdict", *figures, "overrides"], [row for row in rows if len(row) == len(figures) + 3]))
    return worst


def _quoted(path: Path) -> str:
    """A path as Hydra's override grammar takes it."""
    escaped = str(path).replace("\\", "\\\\")
    for character in " ()[]{}:=,'\"":
        escaped = escaped.replace(character, f"\\{character}")
    return escaped
