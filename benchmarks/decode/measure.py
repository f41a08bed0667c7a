"""Speed in rounds in which all contenders take their turn, and the memory's between them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.turns.worker_process import WorkerError, WorkerProcess
from modelwright.process import load


@dataclass(frozen=True)
class Settings:
    """Threads of each contender, turns per prompt length, new tokens per turn, prompt lengths."""

    threads: int
    rounds: int
    new: int
    lengths: tuple[int, ...]


@dataclass
class Contender:
    """A contender and, by prompt length, one figure per round."""

    name: str
    kind: str
    size_bytes: int
    worker: WorkerProcess
    prefill: dict[int, list[float]] = field(default_factory=dict)
    decode: dict[int, list[float]] = field(default_factory=dict)


def measure(
    contenders: list[Contender], memory: WorkerProcess, tokens: Path, settings: Settings
) -> tuple[dict[str, float | None], list[float], dict[str, str]]:
    """Fill in tokens per second; contenders that die are removed.

    Returns by length the share of the CPUs that other processes used, the memory bandwidth in GB/s round by
    round, and why each removed contender died.
    """
    shares: dict[str, float | None] = {}
    bandwidth: list[float] = []
    died: dict[str, str] = {}
    for length in settings.lengths:
        print(f"timing after {length} tokens ...", flush=True)
        _turn(contenders, tokens, length, settings, died, keep=False)
        before = load.read([memory.pid, *(contender.worker.pid for contender in contenders)])
        for turn in range(settings.rounds):
            first = turn % max(len(contenders), 1)
            order = [*contenders[first:], *contenders[:first]]
            _turn(order, tokens, length, settings, died, keep=True)
            contenders[:] = [item for item in contenders if item.name not in died]
            bandwidth.append(max(memory.ask(do="read")["gigabytes_per_second"] for _ in range(3)))
        after = load.read([memory.pid, *(contender.worker.pid for contender in contenders)])
        shares[str(length)] = load.others(before, after)
    return shares, bandwidth, died


def _turn(
    contenders: Sequence[Contender],
    tokens: Path,
    length: int,
    settings: Settings,
    died: dict[str, str],
    *,
    keep: bool,
) -> None:
    for contender in contenders:
        if contender.name in died:
            continue
        try:
            found = contender.worker.ask(do="decode", tokens=str(tokens), length=length, new=settings.new)
        except WorkerError as error:
            died[contender.name] = str(error)
            continue
        if keep:
            contender.prefill.setdefault(length, []).append(length / found["prefill"])
            contender.decode.setdefault(length, []).append(1 / statistics.median(found["steps"]))
