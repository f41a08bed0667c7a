from __future__ import annotations

from modelwright.process.nvml import Clock
from modelwright.report.clocks import clock_notes


def test_least_and_most_of_each_metric_are_told() -> None:
    seen = {"latency": [Clock(1980, 1980), Clock(1755, 1980)], "decode": [Clock(1980, 1980)]}
    assert clock_notes(seen) == [
        "The GPU's clock, of 1,980 MHz at most, right after rounds: 1,755 to 1,980 MHz of latency, "
        "1,980 MHz of decode."
    ]


def test_without_a_gpu_nothing_is() -> None:
    assert clock_notes({}) == []
