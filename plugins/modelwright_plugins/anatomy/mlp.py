"""How many vectors of its inner width an MLP holds at once."""

from __future__ import annotations

from modelwright_plugins.anatomy.config import Config


def gated_inner_copies(together: bool) -> int:
    """The activated gate, the other projection and their product; one more where both come of one tensor."""
    return 4 if together else 3


def widest(*choices: tuple[int, int]) -> tuple[int, int]:
    """Of pairs of a width and how many vectors of it are held, the one that takes most."""
    return max(choices, key=lambda choice: choice[0] * choice[1])


def plain_inner_copies(config: Config, key: str, default: str = "") -> int:
    """`gelu_new` is written out in steps, each with a result of its own; other activations are one step."""
    return 4 if (config.values.get(key) or default) == "gelu_new" else 2
