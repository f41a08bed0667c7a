"""What is said of figures of speed that were measured beside other work."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from modelwright.process import load
from tests.core.bench import RECIPE, Bench

pytestmark = pytest.mark.skipif(not Path("/proc/stat").is_file(), reason="needs Linux's /proc")

SPEED = {
    "metrics": {**RECIPE["validate"]["metrics"], "latency": {"batch": [1], "length": [8]}},
    "gates": RECIPE["validate"]["gates"],
}


@contextmanager
def busy_cpus() -> Iterator[list[int]]:
    """A process on every CPU that does nothing but work; their ids."""
    spinning = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)
    ]
    try:
        yield [process.pid for process in spinning]
    finally:
        for process in spinning:
            process.kill()
            process.wait()


def test_work_of_given_processes_is_not_that_of_others() -> None:
    with busy_cpus() as pids:
        alone, together = load.read([]), load.read(pids)
        assert alone is not None
        assert together is not None
        until = time.monotonic() + 60
        while (later := load.read(pids)) and later.own - together.own < 50 and time.monotonic() < until:
            time.sleep(0.1)
        unknown, known = load.others(alone, load.read([])), load.others(together, later)
    assert later is not None
    assert unknown is not None
    assert known is not None
    # Fifty ticks of theirs lie between the two, whatever else runs here.
    assert known + 25 / (later.total - together.total) < unknown


def test_no_time_between_readings_tells_nothing() -> None:
    ticks = load.Ticks(total=100, busy=50, own=10)
    assert load.others(ticks, ticks) is None
    assert load.others(None, ticks) is None


def test_a_report_says_which_figures_were_measured_on_a_busy_machine(bench: Bench) -> None:
    bench.write(validate=SPEED)
    with busy_cpus():
        ended = bench.run()
    assert ended.code == 0, ended.err
    assert "of the CPUs while latency was measured" in ended.out + ended.err
    [note] = [text for text in bench.last_report()["notes"] if "doubtful" in text]
    assert "% during latency" in note
    assert bench.run("--no-bench").code == 0  # takes the figures, and what is doubtful in them
    assert f"Of that run: {note}" in bench.last_report()["notes"]
