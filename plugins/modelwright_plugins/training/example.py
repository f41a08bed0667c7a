"""One thing to train on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from modelwright.api.dataset import Split


@dataclass(frozen=True)
class Example:
    """Token ids of one text or window, its place in the split it is of, and its label where it has one."""

    tokens: tuple[int, ...]
    number: int
    split: Split
    label: int | None = None


@dataclass(frozen=True)
class Examples:
    """What a model is trained on, and what is held out to judge it by while it trains."""

    train: Sequence[Example]
    held_out: Sequence[Example]
