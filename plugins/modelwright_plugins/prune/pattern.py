"""n:m sparsity: of m neighbouring weights in a row, n stay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, BeforeValidator

from modelwright.errors import RecipeError

if TYPE_CHECKING:
    import torch


def _as_text(value: object) -> object:
    # YAML 1.1 reads 2:4 as minutes and seconds.
    if isinstance(value, int) and not isinstance(value, bool) and value >= 60:
        return f"{value // 60}:{value % 60}"
    return value


def _parsed(value: str) -> str:
    kept, _, of = value.partition(":")
    if not (kept.isdecimal() and of.isdecimal() and 0 < int(kept) < int(of) <= 32):
        raise ValueError("a pattern is n:m, such as 2:4, of m neighbouring weights n stay; m is at most 32")
    return f"{int(kept)}:{int(of)}"


Pattern = Annotated[str, BeforeValidator(_as_text), AfterValidator(_parsed)]


def numbers(pattern: str) -> tuple[int, int]:
    """How many weights stay, and of how many."""
    kept, _, of = pattern.partition(":")
    return int(kept), int(of)


def require_whole_groups(name: str, inputs: int, pattern: str, where: str) -> None:
    """Raise RecipeError where a row of a layer is no whole number of groups."""
    _, of = numbers(pattern)
    if inputs % of:
        raise RecipeError(
            f"The {inputs:,} inputs of '{name}' are no multiple of {of}.",
            where=where,
            accepted=f"layers whose inputs are a multiple of {of}, for the pattern {pattern}",
            hint=f"leave it out: exclude=[{name}]",
        )


def lowest_of_groups(scores: torch.Tensor, pattern: str) -> torch.Tensor:
    """Where the lowest scores of each group are, those that go: bool as `scores` [rows, inputs]."""
    import torch

    kept, of = numbers(pattern)
    groups = scores.reshape(len(scores), -1, of)
    lowest = groups.argsort(dim=-1, stable=True)[..., : of - kept]
    return torch.zeros_like(groups, dtype=torch.bool).scatter_(-1, lowest, True).reshape(scores.shape)
