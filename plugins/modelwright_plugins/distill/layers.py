"""Which layers of a model a shallower one is made of."""

from __future__ import annotations

import re

from pydantic import StrictInt

from modelwright.errors import RecipeError

Layers = str | tuple[StrictInt, ...]
RULE = re.compile(r"(every|first|last|spread) [1-9]\d*")


def choose_layers(layers: Layers, count: int, where: str) -> list[int]:
    """The layers of `count` that stay, in order, counted from 0.

    >>> choose_layers("spread 3", 6, where)         # first, last, and evenly between them
    [0, 2, 5]
    >>> choose_layers("every 2", 6, where), choose_layers("last 2", 6, where)
    ([0, 2, 4], [4, 5])

    Raises RecipeError where there are not that many.
    """
    if isinstance(layers, str):
        word, _, number = layers.partition(" ")
        chosen = _chosen(word, int(number), count)
    else:
        chosen = [*layers]
    if chosen and chosen == sorted({*chosen} & {*range(count)}):
        return chosen
    raise RecipeError(
        f"The layers {layers} cannot be taken of a model with {count}.",
        where=where,
        accepted=f"every, first, last or spread and a number up to {count}; or layers from 0 to {count - 1}, "
        "in order and each once",
    )


def _chosen(word: str, number: int, count: int) -> list[int]:
    if word == "every":
        return [*range(0, count, number)]
    if number > count:
        return []
    if word == "spread" and number > 1:
        return [round(index * (count - 1) / (number - 1)) for index in range(number)]
    return [*range(count - number, count)] if word == "last" else [*range(number)]
