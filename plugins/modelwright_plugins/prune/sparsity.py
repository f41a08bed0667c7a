"""The tags of a model whose weights have zeros worth keeping, and what steps make of them."""

from __future__ import annotations

from collections.abc import Collection

SPARSE = "sparse"


def with_sparsity(tags: Collection[str], pattern: str | None) -> tuple[str, ...]:
    """`sparse`, and `sparse-2:4` for zeros in that pattern. Earlier patterns still hold."""
    return tuple(sorted({*tags, SPARSE, *([f"{SPARSE}-{pattern}"] if pattern else [])}))


def without_sparsity(tags: Collection[str]) -> tuple[str, ...]:
    """The tags after a step that makes other numbers of zeros."""
    return tuple(sorted(tag for tag in tags if tag != SPARSE and not tag.startswith(f"{SPARSE}-")))
