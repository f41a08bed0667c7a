from __future__ import annotations

import pytest

from modelwright.report import units


def plain(text: str) -> str:
    return text.replace(units.NARROW, " ")


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0129, "s", "12.9 ms"),
        (0.00000042, "s", "0.420 µs"),
        (2.5, "ms", "2.50 ms"),
        (1500, "ms", "1.50 s"),
        (0, "s", "0 s"),
        (0.9999, "s", "1.00 s"),
        (22_900_000, "bytes", "22.9 MB"),
        (999_999, "bytes", "1.00 MB"),
        (0, "bytes", "0 B"),
        (17, "B", "17 B"),
        (24, "MiB", "25.2 MB"),
        (1320.4, "texts/s", "1,320 texts/s"),
        (1, "texts/s", "1 texts/s"),
        (1, "tokens", "1 token"),
        (2, "tokens", "2 tokens"),
        (2.4318, "×", "2.43×"),
        (-0.007, "%", "−0.7 %"),
        (0.0002, "%", "0.02 %"),
        (6, "", "6"),
        (0.4905, "", "0.4905"),
        (0.99935, "", "0.99935"),
        (0.9999997, "", "0.99999970"),
        (3.1e-6, "", "3.1 × 10⁻⁶"),
        (float("nan"), "s", "not finite"),
        (None, "s", "not measured"),
    ],
)
def test_quantity(value: float | None, unit: str, text: str) -> None:
    assert plain(units.quantity(value, unit)) == text


def test_memory_counts_in_powers_of_1024_and_disk_of_1000() -> None:
    assert plain(units.memory(612 * 2**20)) == "612 MiB"
    assert plain(units.disk(612 * 2**20)) == "642 MB"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.25, "250 ms"), (59.5, "59.5 s"), (192.4, "3 min 12 s"), (7260, "2 h 1 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert plain(units.seconds(seconds)) == text


def test_ends_of_an_interval_share_the_unit_of_its_value() -> None:
    scale = units.scale_of(0.00099, "s")
    assert (plain(scale.text(0.00099)), scale.bare(0.0012)) == ("990 µs", "1,200")


def test_percentages_and_ratios() -> None:
    assert plain(units.percent(0.012, signed=True)) == "+1.2 %"
    assert plain(units.percent(-0.007)) == "−0.7 %"
    assert units.ratio(2.431) == "2.43×"


def test_nothing_is_minus_zero() -> None:
    assert plain(units.quantity(-0.00001, "%")) == "0.00 %"


def test_digests_are_shortened() -> None:
    assert units.short_digest("sha256:" + "ab" * 32) == "abababababab"


def test_how_far_a_prediction_was_off() -> None:
    assert plain(units.deviation(512, 480)) == "6.7 % over"
    assert plain(units.deviation(360, 480)) == "25.0 % under"
    assert units.deviation(480, 480) == "as predicted"
    assert units.deviation(0, 480) == units.deviation(480, 0) == ""
