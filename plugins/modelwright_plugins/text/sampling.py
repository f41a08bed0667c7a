"""The next token from logits: greedy, or drawn by temperature, top-k and top-p."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from modelwright.api.runner import Floats, Tokens
from modelwright.errors import RecipeError


@dataclass
class Sampler:
    """Chooses one token per row.

    >>> Sampler(temperature=0.8, top_p=0.9, seed=1).choose(logits)   # [batch, vocabulary] -> [batch]

    At temperature 0 the most likely token is taken. Else logits are divided by the temperature, all but the
    `top_k` largest are dropped, then all but the fewest whose probabilities reach `top_p` (nucleus sampling,
    Holtzman et al. 2020, The Curious Case of Neural Text Degeneration). Raises RecipeError for values out of
    range.
    """

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float = 1.0
    seed: int = 0
    _random: np.random.Generator = field(init=False, repr=False)

    def __post_init__(self) -> None:
        ranges = (
            ("temperature", self.temperature, self.temperature >= 0, "0 (greedy) or more"),
            ("top_k", self.top_k, self.top_k is None or self.top_k >= 1, "1 or more, or None"),
            ("top_p", self.top_p, 0 < self.top_p <= 1, "above 0, at most 1"),
        )
        for name, value, fits, accepted in ranges:
            if not fits:
                raise RecipeError(f"{name} is {value}.", where=f"generate({name}=…)", accepted=accepted)
        self._random = np.random.default_rng(self.seed)

    def choose(self, logits: Floats) -> Tokens:
        """Tokens of shape [batch]."""
        if self.temperature == 0:
            return logits.argmax(axis=-1)
        return np.array([self._draw(row) for row in logits.astype(np.float64)], dtype=np.int64)

    def _draw(self, row: np.ndarray) -> int:
        order = np.argsort(-row, kind="stable")[: self.top_k]
        scaled = row[order] / self.temperature
        chances = np.exp(scaled - scaled[0])
        chances /= chances.sum()
        kept = int(np.searchsorted(np.cumsum(chances), self.top_p, side="left")) + 1
        chances = chances[:kept] / chances[:kept].sum()
        return int(order[self._random.choice(len(chances), p=chances)])
