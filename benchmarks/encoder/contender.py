"""A running worker: spawned by its own interpreter, asked to embed and to be timed."""

from __future__ import annotations

from pathlib import Path

from benchmarks.encoder.entrants import Entrant
from benchmarks.turns.worker_process import WorkerProcess

WORKER = Path(__file__).with_name("worker.py")


class Contender(WorkerProcess):
    """A loaded model in a process of its own. Raises WorkerError when it doesn't load."""

    def __init__(self, entrant: Entrant, threads: int) -> None:
        self.entrant = entrant
        super().__init__([entrant.python, WORKER, entrant.runtime, entrant.path, str(threads)], threads)

    def embed(self, tokens: Path, out: Path) -> None:
        """Embed a file of token ids into an .npy file."""
        self.ask(do="embed", tokens=str(tokens), out=str(out))

    def time(self, tokens: Path, cell: str, seconds: float) -> list[float]:
        """Milliseconds of each pass of one turn."""
        passes: list[float] = self.ask(do="time", tokens=str(tokens), cell=cell, seconds=seconds)["ms"]
        return passes
