"""Intervals that cover what they say."""

import numpy as np

from modelwright.statistics import (
    is_noisy,
    mean_interval,
    median_interval,
    paired_difference,
    ratio_of_sums,
)


def test_the_interval_of_a_mean_covers_the_truth_about_95_times_in_100():
    rng = np.random.default_rng(0)
    hits = 0
    for trial in range(200):
        interval = mean_interval(rng.normal(3.0, 1.0, 60), trial)
        hits += interval.low <= 3.0 <= interval.high
    assert 180 <= hits <= 199


def test_pairing_makes_the_interval_of_a_difference_narrow():
    rng = np.random.default_rng(1)
    before = rng.random(400)
    after = before - 0.01 + rng.normal(0, 0.001, 400)
    paired = paired_difference(before, after, relative=False)
    assert paired.low < -0.01 < paired.high
    assert paired.high - paired.low < 0.1 * (mean_interval(before).high - mean_interval(before).low)


def test_a_relative_difference_is_a_share_of_the_baseline():
    before = np.array([0.5, 1.0, 0.25, 0.5] * 25)
    assert abs(paired_difference(before, before * 0.9).value + 0.1) < 1e-12


def test_a_ratio_of_sums_weighs_items_by_what_they_hold():
    assert ratio_of_sums([1.0, 30.0], [1.0, 10.0]).value == 31 / 11


def test_a_ratio_of_sums_draws_both_sides_together():
    held = np.random.default_rng(4).integers(1, 100, 60)
    interval = ratio_of_sums(2.5 * held, held)
    assert interval.high - interval.low < 1e-9
    noisy = ratio_of_sums(held * np.random.default_rng(5).normal(2.5, 0.1, 60), held)
    assert noisy.low < 2.5 < noisy.high


def test_an_outlier_does_not_move_a_median():
    assert median_interval([1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 50.0]).value == 1.0


def test_the_same_seed_gives_the_same_interval():
    samples = np.random.default_rng(2).random(50)
    assert mean_interval(samples, 3) == mean_interval(samples, 3)
    assert mean_interval(samples, 3) != mean_interval(samples, 4)


def test_noise_is_a_wide_interval():
    assert is_noisy(median_interval([1.0, 2.0, 4.0, 1.5, 8.0]))
    assert not is_noisy(median_interval([1.0, 1.01, 0.99, 1.0, 1.02]))
