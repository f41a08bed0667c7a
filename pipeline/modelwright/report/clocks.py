"""What a GPU's clock was between rounds of measuring speed, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from modelwright.process.nvml import Clock


def clock_notes(clocks: Mapping[str, Sequence[Clock]]) -> list[str]:
    """A note on the clocks that were seen after the rounds of each metric; none where none were.

    >>> clock_notes({"latency": [Clock(1980, 1980), Clock(1755, 1980)]})
    ["The GPU's clock, of 1,980 MHz at most, right after rounds: 1,755 to 1,980 MHz of latency."]
    """
    if not clocks:
        return []
    most = max(clock.most for seen in clocks.values() for clock in seen)
    ranges = {key: {min(seen).now, max(seen).now} for key, seen in clocks.items()}
    told = ", ".join(
        f"{' to '.join(f'{now:,}' for now in sorted(ends))} MHz of {key}" for key, ends in ranges.items()
    )
    return [f"The GPU's clock, of {most:,} MHz at most, right after rounds: {told}."]
