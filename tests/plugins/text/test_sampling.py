from __future__ import annotations

import numpy as np
import pytest

from modelwright.errors import RecipeError
from modelwright_plugins.text.sampling import Sampler

LOGITS = np.log(np.array([[0.5, 0.3, 0.15, 0.05], [0.05, 0.15, 0.3, 0.5]], dtype=np.float32))


def shares(sampler: Sampler, draws: int = 4000) -> np.ndarray:
    drawn = np.stack([sampler.choose(LOGITS) for _ in range(draws)])
    return np.stack([np.bincount(column, minlength=4) / draws for column in drawn.T])


def test_greedy_takes_the_most_likely_token() -> None:
    assert Sampler().choose(LOGITS).tolist() == [0, 3]


def test_at_temperature_one_tokens_are_drawn_by_their_probability() -> None:
    assert np.abs(shares(Sampler(temperature=1.0)) - np.exp(LOGITS)).max() < 0.03


def test_a_low_temperature_sharpens_and_a_high_one_flattens() -> None:
    cold, hot = shares(Sampler(temperature=0.5))[0], shares(Sampler(temperature=4.0))[0]
    squared = np.exp(LOGITS[0]) ** 2
    assert np.abs(cold - squared / squared.sum()).max() < 0.03
    assert cold[0] > 0.6 > 0.35 > hot[0]


def test_top_k_drops_all_but_the_likeliest() -> None:
    found = shares(Sampler(temperature=1.0, top_k=2))[0]
    assert found[2:].tolist() == [0, 0]
    assert abs(found[0] - 0.625) < 0.03


def test_top_p_keeps_the_fewest_that_reach_it() -> None:
    found = shares(Sampler(temperature=1.0, top_p=0.9))[0]
    assert found[3] == 0
    assert found[2] > 0
    assert shares(Sampler(temperature=1.0, top_p=0.4))[0].tolist() == [1, 0, 0, 0]


def test_the_same_seed_draws_the_same() -> None:
    drawn = [[Sampler(1.0, seed=seed).choose(LOGITS).tolist() for _ in range(9)] for seed in (1, 1)]
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize(
    ("name", "value"),
    [("temperature", -1.0), ("temperature", float("nan")), ("top_k", 0), ("top_p", 0.0), ("top_p", 1.5)],
)
def test_values_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(RecipeError, match=f"{name} is {value}"):
        Sampler(**{name: value})  # type: ignore[arg-type]
