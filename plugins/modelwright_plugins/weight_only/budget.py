"""Which layers get more bits when the mean number of bits is given."""

from __future__ import annotations

from collections.abc import Mapping

TOLERANCE = 1e-9


def favoured_layers(
    sizes: Mapping[str, int],
    bits: Mapping[str, int],
    sensitivity: Mapping[str, float],
    high: int,
    budget: float,
) -> set[str]:
    """The layers to store with `high` bits, so that the mean over all weights is at most `budget` bits.

    >>> favoured_layers({"a": 100, "b": 100}, {"a": 4, "b": 4}, {"a": 0.5, "b": 0.1}, high=8, budget=6)
    {'a'}

    Greedy: the layer that is most sensitive per added bit comes first; one that no longer fits is passed over
    for smaller ones. `sizes` are numbers of weights, `bits` what they have otherwise; layers without an entry
    in `sensitivity` keep theirs. Raises ValueError when `bits` alone exceed the budget.
    """
    room = budget * sum(sizes.values()) - sum(sizes[name] * bits[name] for name in sizes) + TOLERANCE
    if room < 0:
        raise ValueError("the layers take more than the budget as they are")
    costs = {name: (high - bits[name]) * sizes[name] for name in sensitivity}
    chosen: set[str] = set()
    for name in sorted(sensitivity, key=lambda name: (-sensitivity[name] / costs[name], name)):
        if costs[name] <= room and sensitivity[name] > 0:
            chosen.add(name)
            room -= costs[name]
    return chosen
