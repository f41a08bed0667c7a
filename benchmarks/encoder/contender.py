"""A running worker: spawned by its own interpreter, spoken to in JSON lines."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.encoder.entrants import Entrant
from benchmarks.encoder.environment import QUIET

WORKER = Path(__file__).with_name("worker.py")
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


class ContenderError(Exception):
    """A worker died; the message is the last line it printed."""


class Contender:
    """A loaded model in a process of its own. Raises ContenderError when it doesn't load."""

    def __init__(self, entrant: Entrant, threads: int) -> None:
        self.entrant = entrant
        environment = {**os.environ, **QUIET, **dict.fromkeys(THREAD_VARIABLES, str(threads))}
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 - lives on
        self._process = subprocess.Popen(
            [str(entrant.python), str(WORKER), entrant.runtime, str(entrant.path), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=environment,
        )
        self.pid = self._process.pid
        hello = self._read()
        self.runs: str = hello["runs"]
        self.versions: dict[str, str] = hello["versions"]

    def embed(self, tokens: Path, out: Path) -> None:
        """Embed a file of token ids into an .npy file."""
        self._ask(do="embed", tokens=str(tokens), out=str(out))

    def time(self, tokens: Path, cell: str, seconds: float) -> list[float]:
        """Milliseconds of each pass of one turn."""
        passes: list[float] = self._ask(do="time", tokens=str(tokens), cell=cell, seconds=seconds)["ms"]
        return passes

    def close(self) -> None:
        """End the process."""
        if self._process.stdin:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def _ask(self, **request: object) -> dict[str, Any]:
        assert self._process.stdin
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # What it died of is told by the answer that doesn't come.
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self._log.seek(0)
            printed = [text.strip() for text in self._log.read().splitlines() if text.strip()]
            raise ContenderError(printed[-1] if printed else f"exit code {self._process.returncode}")
        answer: dict[str, Any] = json.loads(line)
        return answer
