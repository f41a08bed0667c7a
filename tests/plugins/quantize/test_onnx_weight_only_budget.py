from __future__ import annotations

import numpy as np
import pytest

from modelwright_plugins.weight_only.budget import favoured_layers

SIZES = {"a": 100, "b": 300, "c": 50, "d": 550}
BITS = dict.fromkeys(SIZES, 4)
DAMAGE = {"a": 0.1, "b": 0.9, "c": 0.01, "d": 0.2}


def mean(chosen: set[str], high: int = 8) -> float:
    return sum(SIZES[name] * (high if name in chosen else BITS[name]) for name in SIZES) / sum(SIZES.values())


@pytest.mark.parametrize(
    ("budget", "expected"),
    [(4, set()), (4.2, {"c"}), (5.2, {"b"}), (5.6, {"a", "b"}), (5.8, {"a", "b", "c"}), (8, set(SIZES))],
)
def test_the_budget_holds_and_damage_per_bit_decides(budget: float, expected: set[str]) -> None:
    chosen = favoured_layers(SIZES, BITS, DAMAGE, 8, budget)
    assert chosen == expected
    assert mean(chosen) <= budget


def test_the_budget_holds_for_any_sizes() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        sizes = {str(index): int(size) for index, size in enumerate(rng.integers(1, 1000, 20))}
        sensitivity = {name: float(rng.random()) for name in sizes}
        budget = float(rng.uniform(4, 8))
        chosen = favoured_layers(sizes, dict.fromkeys(sizes, 4), sensitivity, 8, budget)
        spent = sum(size * (8 if name in chosen else 4) for name, size in sizes.items())
        room = budget * sum(sizes.values()) - spent
        assert room >= -1e-6
        assert all(4 * size > room for name, size in sizes.items() if name not in chosen)


def test_layers_with_bits_of_their_own_count_and_keep_them() -> None:
    bits = BITS | {"d": 8}
    sensitivity = {name: DAMAGE[name] for name in ("a", "b", "c")}
    assert favoured_layers(SIZES, bits, sensitivity, 8, 6.8) == {"a", "c"}
    with pytest.raises(ValueError, match="more than the budget"):
        favoured_layers(SIZES, bits, sensitivity, 8, 6.1)
