"""Weights clipped to what one scale represents best."""

import numpy as np

from modelwright_plugins.quantize.weight_clipping import _rounded, best_range


def error(weight: np.ndarray, limit: float) -> float:
    return float(np.mean((_rounded(weight, limit) - weight) ** 2))


def test_a_few_large_weights_are_clipped_for_the_sake_of_the_others():
    weight = np.random.default_rng(0).normal(0, 0.02, (512, 1024)).astype(np.float32)
    weight[0, :2] = 0.5
    limit = best_range(weight)
    assert limit < 0.5
    assert error(weight, limit) < error(weight, 0.5)


def test_evenly_spread_weights_keep_their_range():
    weight = np.random.default_rng(0).uniform(-0.1, 0.1, (64, 64)).astype(np.float32)
    assert best_range(weight) > 0.095


def test_nothing_but_zeros_is_left_alone():
    assert best_range(np.zeros((4, 4), np.float32)) == 0.0
