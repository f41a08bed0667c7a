"""Quality once, then speed in rounds in which all contenders take their turn."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.encoder.contender import Contender
from benchmarks.encoder.entrants import Entrant, Missing
from benchmarks.encoder.texts import GRID, Tokens
from benchmarks.turns.worker_process import WorkerError
from modelwright.process import load

Shares = dict[str, float | None]
CELLS = tuple(f"{batch}x{length}" for batch, length in GRID)


@dataclass(frozen=True)
class Settings:
    """Threads of each contender, turns per cell, seconds per turn."""

    threads: int
    rounds: int
    seconds: float


@dataclass
class Measured:
    """What was found about a contender: cosines with the baseline, and by cell a median per round (ms)."""

    entrant: Entrant
    runs: str
    versions: dict[str, str]
    cosines: np.ndarray
    turns: dict[str, list[float]] = field(default_factory=dict)


def measure(
    contenders: list[Contender], tokens: Tokens, settings: Settings, work: Path
) -> tuple[list[Measured], list[Missing], Shares]:
    """Measure all contenders, the baseline first; one that dies midway is left out, with its reason.

    Also returns, by cell, the share of the CPUs that other processes used meanwhile.
    """
    racing: list[tuple[Contender, Measured]] = []
    died: list[Missing] = []
    shares: Shares = {}
    reference: np.ndarray | None = None
    for index, contender in enumerate(contenders):
        out = work / f"embeddings-{index}.npy"
        try:
            contender.embed(tokens.evaluation, out)
        except WorkerError as error:
            died.append(left_out(contender, error))
            continue
        rows = np.load(out)
        reference = rows if reference is None else reference
        cosines = np.sum(rows * reference, axis=1)
        racing.append((contender, Measured(contender.entrant, contender.runs, contender.versions, cosines)))
    for cell in CELLS:
        print(f"timing {cell} ...", flush=True)
        before = load.read(contender.pid for contender, _ in racing)
        for turn in range(settings.rounds):
            # Each round begins with another contender, so that none always follows the same one.
            first = turn % len(racing)
            for contender, result in [*racing[first:], *racing[:first]]:
                try:
                    passes = contender.time(tokens.timing, cell, settings.seconds)
                except WorkerError as error:
                    died.append(left_out(contender, error))
                    racing.remove((contender, result))
                else:
                    result.turns.setdefault(cell, []).append(statistics.median(passes))
        shares[cell] = load.others(before, load.read(contender.pid for contender, _ in racing))
    return [result for _, result in racing], died, shares


def left_out(contender: Contender, error: WorkerError) -> Missing:
    """Why a contender is left out; without the baseline there is nothing to compare with."""
    if contender.entrant.kind == "baseline":
        raise error
    return Missing(contender.entrant.name, str(error))
