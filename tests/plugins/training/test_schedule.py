from __future__ import annotations

import pytest

from modelwright_plugins.training.schedule import Schedule, learning_rate_factor


def factors(schedule: Schedule, warmup: float = 0.1) -> list[float]:
    return [learning_rate_factor(step, 100, warmup, schedule) for step in range(100)]


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
def test_it_rises_in_even_steps_to_the_whole_rate(schedule: Schedule) -> None:
    assert factors(schedule)[:11] == pytest.approx([*(step / 10 for step in range(1, 11)), 1.0])


def test_it_then_falls_as_asked() -> None:
    assert factors("constant")[10:] == [1.0] * 90
    assert factors("linear")[55] == pytest.approx(0.5)
    assert factors("linear")[99] == pytest.approx(1 / 90)
    assert factors("cosine")[55] == pytest.approx(0.5)
    assert factors("cosine")[99] < 0.001
    assert factors("cosine")[30] > factors("linear")[30]


def test_no_warm_up_starts_at_the_whole_rate() -> None:
    assert factors("cosine", warmup=0)[0] == 1.0
