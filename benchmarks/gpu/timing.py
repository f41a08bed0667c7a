"""Times and peaks of memory on one GPU, contenders taking turns."""

from __future__ import annotations

import gc
import subprocess
from collections.abc import Callable, Mapping
from typing import Any

import torch

from modelwright.statistics import median_interval

Call = Callable[[], object]
# A turn is so long that starting and reading its two events does not count.
TURN_SECONDS, LEAST_CALLS, MOST_CALLS = 0.02, 3, 200
ROUNDS = 9


def take_turns(contenders: Mapping[str, Call], rounds: int = ROUNDS) -> dict[str, dict[str, float]]:
    """Milliseconds of one call of each, by CUDA events: the median over rounds with its 95 % interval.

    A contender that runs out of memory is left out.
    """
    calls: dict[str, int] = {}
    for name, call in contenders.items():
        try:
            for _ in range(3):
                call()
            calls[name] = max(LEAST_CALLS, min(MOST_CALLS, round(TURN_SECONDS / (_turn(call, 3) / 1000))))
        except torch.cuda.OutOfMemoryError:
            free()
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name in calls:
            samples[name].append(_turn(contenders[name], calls[name]))
    return {name: median_interval(found).model_dump() for name, found in samples.items()}


def peak_bytes(call: Call) -> int | None:
    """What a call allocates beyond what is there before it; None where that is more than there is."""
    free()
    before = torch.cuda.memory_allocated()
    try:
        call()
        torch.cuda.synchronize()
    except torch.cuda.OutOfMemoryError:
        free()
        return None
    return torch.cuda.max_memory_allocated() - before


def replayed(call: Call) -> Call:
    """The kernels of a call as one CUDA graph: without the time that launching each of them takes."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = call()

    def replay() -> object:
        graph.replay()
        return output

    return replay


def free() -> None:
    """Give back what nothing holds any more, and begin a new peak."""
    gc.collect()
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()


def device() -> dict[str, Any]:
    """The GPU, its driver and clocks, and the versions of what runs on it."""
    asked = "name,driver_version,clocks.sm,clocks.mem,power.limit"
    found = subprocess.run(
        ["nvidia-smi", f"--query-gpu={asked}", "--format=csv,noheader"],
        capture_output=True,
        text=True,
        check=True,
    )
    named = dict(zip(asked.split(","), found.stdout.strip().split(", "), strict=True))
    return {**named, "torch": torch.__version__, "cuda": torch.version.cuda}


def _turn(call: Call, times: int) -> float:
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    torch.cuda.synchronize()
    begin.record()
    for _ in range(times):
        call()
    end.record()
    torch.cuda.synchronize()
    milliseconds: float = begin.elapsed_time(end)
    return milliseconds / times
