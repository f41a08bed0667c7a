"""A distillation that was killed and resumed, beside one that ran through."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.compression.table import Row, Table, grid
from benchmarks.models.steps import run_stages

KILLED_AFTER = (60, 100)
CHECKPOINT_EVERY = 20
STAGES: dict[str, dict[str, Any]] = {
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
}
DOCS = {"use": "python-docs", "limit": 400}
TIMEOUT = 1200
RUN = """
import sys
from pathlib import Path
from benchmarks.compression.resumed import result
print(result(Path(sys.argv[1])))
"""


def result(folder: Path) -> str:
    """Run the stages to their end, from the last checkpoint on; the digest of the model."""
    digest: str = run_stages(STAGES, "minilm", folder, {"docs": DOCS}).results[-1].digest
    return digest


def start(folder: Path) -> subprocess.Popen[str]:
    """The same in a process of its own, which prints it."""
    return subprocess.Popen([sys.executable, "-c", RUN, str(folder)], stdout=subprocess.PIPE, text=True)


def killed_after(folder: Path, step: int) -> None:
    """Start, wait until the checkpoint of that step is there, kill."""
    run = start(folder)
    deadline = time.monotonic() + TIMEOUT
    try:
        while not [*folder.glob(f"store/checkpoints/*/step-{step:07}")]:
            if run.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the run ended, or took too long, before its checkpoint of step {step}")
            time.sleep(0.05)
    finally:
        run.kill()
        run.wait()


def ended(folder: Path) -> str:
    """Run to the end; the digest of the model."""
    run = start(folder)
    try:
        said, _ = run.communicate(timeout=TIMEOUT)
    finally:
        run.kill()
    if run.returncode:
        raise RuntimeError(f"the run ended with exit code {run.returncode}")
    return said.split()[-1]


def measure(work: Path) -> list[Row]:
    """The digest of each run's result."""
    whole, broken = work / "resumed-whole", work / "resumed-broken"
    for folder in (whole, broken):
        shutil.rmtree(folder, ignore_errors=True)
    print("unbroken ...", flush=True)
    rows = [{"name": "unbroken", "digest": ended(whole)}]
    for step in KILLED_AFTER:
        print(f"killed after step {step} ...", flush=True)
        killed_after(broken, step)
    name = f"killed after the checkpoints of steps {' and '.join(map(str, KILLED_AFTER))}, resumed"
    return [*rows, {"name": name, "digest": ended(broken)}]


def lines(rows: Sequence[Row]) -> list[str]:
    """The table."""
    verdict = "**The same.**" if len({row["digest"] for row in rows}) == 1 else "**They differ.**"
    steps = STAGES["distill"]["steps"]
    return [
        f"SHA-256 of the checkpoint's files after {steps} steps of distill.embeddings with a checkpoint "
        f"every {CHECKPOINT_EVERY}; the run was ended by SIGKILL. {verdict}",
        "",
        *grid(["run", "digest"], [[row["name"], f"`{row['digest']}`"] for row in rows]),
    ]


TABLE = Table("A distillation killed and resumed", measure, lines)
