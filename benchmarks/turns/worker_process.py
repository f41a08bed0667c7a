"""A worker in a process of its own, spoken to in JSON lines."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

QUIET = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "OLIVE_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
}
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


class WorkerError(Exception):
    """A worker died; the message is the last line it printed."""


class WorkerProcess:
    """A script that says hello with what it runs, then answers one line to each request.

    >>> worker = WorkerProcess([sys.executable, "worker.py", "torch"], threads=2)
    >>> worker.ask(do="time", cell="1x128")

    Raises WorkerError when it does not start, or dies.
    """

    def __init__(self, command: Sequence[str | Path], threads: int) -> None:
        environment = {**os.environ, **QUIET, **dict.fromkeys(THREAD_VARIABLES, str(threads))}
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 - lives on
        self._process = subprocess.Popen(
            [str(part) for part in command],
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

    def ask(self, **request: object) -> dict[str, Any]:
        """Send one request; the answer."""
        assert self._process.stdin
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # What it died of is told by the answer that doesn't come.
        return self._read()

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

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self._log.seek(0)
            printed = [text.strip() for text in self._log.read().splitlines() if text.strip()]
            raise WorkerError(printed[-1] if printed else f"exit code {self._process.returncode}")
        answer: dict[str, Any] = json.loads(line)
        return answer
