"""Held-out documents that are mostly in the train split, too: modules copy each other's docstrings."""

from __future__ import annotations

from collections.abc import Sequence

from modelwright_plugins.dataset.splits import normalize

WORDS = 8


def near_copies(train: Sequence[str], judged: Sequence[str]) -> list[bool]:
    """For each document of `judged`, whether half of its runs of eight words are in `train`.

    A document of fewer words counts as a copy where all of it stands somewhere in `train`.
    """
    known = {run for text in train for run in runs(text)}
    short = "\n".join(map(normalize, train))
    return [is_copy(text, known, short) for text in judged]


def is_copy(text: str, known: set[str], whole: str) -> bool:
    found = runs(text)
    if not found:
        return normalize(text) in whole
    return sum(run in known for run in found) * 2 >= len(found)


def runs(text: str) -> list[str]:
    """Every run of eight words."""
    words = normalize(text).split()
    return [" ".join(words[start : start + WORDS]) for start in range(len(words) - WORDS + 1)]
