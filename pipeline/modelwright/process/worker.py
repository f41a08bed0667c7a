"""The parent's handle on a worker process."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from modelwright.errors import ModelwrightError, StageError

Message = dict[str, Any]
POLL_SECONDS = 1.0
_LOG_LINES = 12


class Worker:
    """One job in a process of its own.

    >>> with Worker("package.module:handler", {"n": 1}, log=Path("log.txt"), threads=2) as worker:
    ...     done = worker.result()

    `handler(payload, channel)` runs in the child; what it returns comes back as `done["result"]`, beside
    `peak_memory` in bytes and `seconds`. All that the child prints goes to `log`. Leaving the block kills
    what is still running.
    """

    def __init__(self, handler: str, payload: dict[str, Any], *, log: Path, threads: int, what: str) -> None:
        self.what = what
        self._log = log
        reading, writing = os.pipe()
        log.parent.mkdir(parents=True, exist_ok=True)
        try:
            with log.open("ab") as stream:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "modelwright.process.child", str(writing)],
                    stdin=subprocess.PIPE,
                    stdout=stream,
                    stderr=stream,
                    pass_fds=[writing],
                    env=_environment(threads),
                    start_new_session=True,
                )
        except OSError:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        self._messages = reading
        self._received = b""
        self.command(json.dumps({"handler": handler, "payload": payload}))

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    def command(self, text: str) -> None:
        """Send one line to the child."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{text}\n".encode())
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it died; the next `receive` says how

    def receive(self) -> Message:
        """The next message. Raises what the job raised, or StageError when the process died."""
        line = self._read_line()
        if line is None:
            raise self._death()
        message: Message = json.loads(line)
        if message["kind"] == "error":
            if "expected" in message:
                raise ModelwrightError.from_dict(message["expected"])
            raise StageError(
                f"{self.what} failed: {message['traceback'].strip().splitlines()[-1]}",
                where=str(self._log),
                hint="the log holds the traceback:\n" + _indented(message["traceback"]),
            )
        return message

    def _read_line(self) -> bytes | None:
        """The next whole line; None when the process is gone, even where a child of its own lives on."""
        while b"\n" not in self._received:
            ready, _, _ = select.select([self._messages], [], [], POLL_SECONDS)
            if ready:
                chunk = os.read(self._messages, 1 << 16)
                if not chunk:
                    return None
                self._received += chunk
            elif self._process.poll() is not None:
                return None
        line, _, self._received = self._received.partition(b"\n")
        return line

    def result(self, on_message: Callable[[Message], None] | None = None) -> Message:
        """Wait for the job to end; other messages go to `on_message`."""
        while (message := self.receive())["kind"] != "done":
            if on_message:
                on_message(message)
        return message

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process, and those it started."""
        if self._process.stdin:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._messages)

    def _death(self) -> StageError:
        code = self._process.wait()
        how = f"exit status {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"
        memory = " (out of memory, as a rule)" if code == -signal.SIGKILL else ""
        tail = self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:]
        return StageError(
            f"{self.what} failed: its process died with {how}{memory}.",
            where=str(self._log),
            hint="the end of its log:\n" + _indented("\n".join(tail)),
        )


def _environment(threads: int) -> dict[str, str]:
    """The child's environment: threads pinned, hash seed fixed, libraries kept from asking the network."""
    pinned = {
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONHASHSEED": "0",
        "PYTHONUNBUFFERED": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "DO_NOT_TRACK": "1",
    }
    return {**os.environ, **pinned, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.strip().splitlines())
