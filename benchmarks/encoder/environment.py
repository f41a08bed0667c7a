"""A Python environment for each peer, made once and kept."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.encoder.peers import TORCH, Peer
from benchmarks.turns.worker_process import QUIET

SETUP_TIMEOUT = 3600
MAKE_TIMEOUT = 1200


class SetupError(Exception):
    """A peer can't be set up here; the message is the reason shown in the table."""


def python_of(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def ensure(peer: Peer, folder: Path) -> Path:
    """The interpreter of an environment that holds the peer's packages; made when it isn't there yet."""
    python, stamp = python_of(folder), folder / "packages.json"
    wanted = json.dumps([TORCH, *peer.packages])
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted and python.exists():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    print(f"setting up {peer.title} in {folder} ...", flush=True)
    call([sys.executable, "-m", "venv", str(folder)], SETUP_TIMEOUT)
    install = [str(python), "-m", "pip", "install", "--quiet"]
    call([*install, TORCH], SETUP_TIMEOUT)
    call([*install, TORCH, *peer.packages], SETUP_TIMEOUT)
    stamp.write_text(wanted, encoding="utf-8")
    return python


def make(peer: Peer, python: Path, model: Path, calibration: Path, out: Path) -> Path:
    """Run the peer's script in its environment; the path of the model it made."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    call([str(python), str(peer.script), str(model), str(calibration), str(out)], MAKE_TIMEOUT)
    made = out / peer.model
    if not made.is_file():
        raise SetupError(f"it ended well and left no {peer.model}")
    return made


def call(command: list[str], timeout: int) -> None:
    """Run a command; SetupError with the last line it printed when it fails."""
    try:
        done = subprocess.run(
            command, env={**os.environ, **QUIET}, capture_output=True, text=True, timeout=timeout, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SetupError(str(error)) from error
    if done.returncode:
        lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise SetupError(lines[-1] if lines else f"exit code {done.returncode}")
