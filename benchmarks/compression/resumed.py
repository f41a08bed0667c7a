"""A distillation that was killed and resumed, beside one that ran through."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from benchmarks.compression.table import Row, Table, grid

KILLED_AFTER = (60, 100)
CHECKPOINT_EVERY = 20
RECIPE: dict[str, Any] = {
    "defaults": [{"/model": "minilm"}, {"/target": "cpu"}, "_self_"],
    "name": "resumed",
    "data": {"docs": {"use": "python-docs", "limit": 400}},
    "stages": {
        "distill": {
            "use": "distill.embeddings",
            "data": "docs",
            "layers": "spread 3",
            "pieces": 0.5,
            "steps": 120,
            "learning_rate": 5.0e-4,
            "checkpoint_every": CHECKPOINT_EVERY,
            "evaluate_every": 40,
        }
    },
}
TIMEOUT = 1200


def start(folder: Path) -> subprocess.Popen[bytes]:
    """The recipe's run, in a process of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.yaml").write_text(yaml.safe_dump(RECIPE, sort_keys=False))
    command = [sys.executable, "-m", "modelwright", "run", "recipe.yaml", "--no-bench"]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)


def killed_after(folder: Path, step: int) -> None:
    """Start, wait until the checkpoint of that step is there, kill."""
    run = start(folder)
    deadline = time.monotonic() + TIMEOUT
    while not [*folder.glob(f"artifacts/.store/checkpoints/*/step-{step:07}")]:
        if run.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the run ended, or took too long, before its checkpoint of step {step}")
        time.sleep(0.05)
    run.kill()
    run.wait()


def ended(folder: Path) -> dict[str, Any]:
    """Run to the end; what the report says of the step."""
    if code := start(folder).wait(TIMEOUT):
        raise RuntimeError(f"the run ended with exit code {code}")
    [report] = folder.glob("artifacts/resumed/1/report.json")
    [step] = json.loads(report.read_text("utf-8"))["steps"]
    found: dict[str, Any] = step
    return found


def measure(work: Path) -> list[Row]:
    """The digest of each run's result."""
    whole, broken = work / "resumed-whole", work / "resumed-broken"
    for folder in (whole, broken):
        shutil.rmtree(folder, ignore_errors=True)
    print("unbroken ...", flush=True)
    rows = [{"name": "unbroken", "digest": ended(whole)["digest"]}]
    for step in KILLED_AFTER:
        print(f"killed after step {step} ...", flush=True)
        killed_after(broken, step)
    name = f"killed after the checkpoints of steps {' and '.join(map(str, KILLED_AFTER))}, resumed"
    return [*rows, {"name": name, "digest": ended(broken)["digest"]}]


def lines(rows: Sequence[Row]) -> list[str]:
    """The table."""
    verdict = "**The same.**" if len({row["digest"] for row in rows}) == 1 else "**They differ.**"
    steps = RECIPE["stages"]["distill"]["steps"]
    return [
        f"SHA-256 of the checkpoint's files after {steps} steps of distill.embeddings with a checkpoint "
        f"every {CHECKPOINT_EVERY}; the run was ended by SIGKILL. {verdict}",
        "",
        *grid(["run", "digest"], [[row["name"], f"`{row['digest']}`"] for row in rows]),
    ]


TABLE = Table("A distillation killed and resumed", measure, lines)
