"""Starts the processes of a training on this machine and waits for them."""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
import time
from pathlib import Path

from modelwright.api.context import StageContext
from modelwright.api.model import Model
from modelwright.errors import ModelwrightError, StageError
from modelwright_plugins.training.__main__ import ENDS_WITH_PARENT
from modelwright_plugins.training.job import DONE, ERROR, PROGRESS, write_job
from modelwright_plugins.training.stage import TrainingStage

POLL_SECONDS = 0.2


def launch(stage: TrainingStage, model: Model, ctx: StageContext) -> None:
    """Run `stage.train` in several processes and hand on what the first of them records.

    Raises what it raised, or StageError when a process died.
    """
    folder = ctx.scratch("job")
    write_job(folder, stage, model, ctx)
    module = ["-m", "modelwright_plugins.training", str(folder)]
    if stage.accelerate_config is not None:
        configured = ["--config_file", str(stage.accelerate_file)]
        command = ["-m", "accelerate.commands.launch", *configured, *module]
        ctx.log.info("started here, and to be started on further machines: python %s", shlex.join(command))
        processes = [_start(command, {ENDS_WITH_PARENT: "1"})]
    else:
        port = _free_port()
        processes = [_start(module, _place(rank, stage.processes, port)) for rank in range(stage.processes)]
    try:
        _wait(processes, folder, ctx)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    records, changes = json.loads((folder / DONE).read_bytes())
    for name, value in records.items():
        ctx.record(name, value)
    ctx.describe(**changes)


def _start(arguments: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """A process that writes to this one's log and ends when this one does."""
    return subprocess.Popen(
        [sys.executable, *arguments],
        stdin=subprocess.PIPE,
        env={**os.environ, **environment, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )


def _place(rank: int, processes: int, port: int) -> dict[str, str]:
    """What PyTorch's distributed package and accelerate read of a process's place."""
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        # The name of this host may resolve to an interface that is not up.
        "GLOO_SOCKET_IFNAME": "lo",
        ENDS_WITH_PARENT: "1",
    }


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _wait(processes: list[subprocess.Popen[bytes]], folder: Path, ctx: StageContext) -> None:
    """Until all have ended well. Raises on the first that did not."""
    said = b""
    while True:
        codes = [process.poll() for process in processes]
        if (folder / PROGRESS).is_file() and (now := (folder / PROGRESS).read_bytes()) != said:
            said = now
            ctx.progress(*json.loads(said))
        if failed := [(rank, code) for rank, code in enumerate(codes) if code]:
            raise _failure(folder, *failed[0])
        if all(code == 0 for code in codes):
            return
        time.sleep(POLL_SECONDS)


def _failure(folder: Path, rank: int, code: int) -> ModelwrightError:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:  # the first process may still be about to say why
        if (folder / ERROR).is_file() and (text := (folder / ERROR).read_bytes()):
            return ModelwrightError.from_dict(json.loads(text))
        time.sleep(POLL_SECONDS)
    return StageError(
        f"Process {rank} of the training died with exit status {code}.",
        where="the step's log",
        hint="the log holds what it printed; the next run resumes from the last checkpoint",
    )
