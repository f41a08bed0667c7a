"""Which of the teacher's layers each of the student's follows."""

from __future__ import annotations

from pydantic import StrictInt

from modelwright.errors import RecipeError

Pairs = tuple[tuple[StrictInt, StrictInt], ...]


def uniform_pairs(student: int, teacher: int) -> Pairs:
    """Every layer of the student with the one at the same share of the teacher's depth.

    >>> uniform_pairs(3, 6)
    ((1, 2), (2, 4), (3, 6))

    Numbers are of hidden states: 0 is the embedding, 1 what the first layer gives (Jiao et al. 2020,
    TinyBERT, arXiv:1909.10351, §3.1).
    """
    return tuple((layer, round(layer * teacher / student)) for layer in range(1, student + 1))


def require_pairs(pairs: Pairs, student: int, teacher: int | None, where: str) -> None:
    """Raise RecipeError for a layer that student or teacher does not have; None: its depth is not known."""
    for ours, theirs in pairs:
        beyond = teacher is not None and theirs > teacher
        if beyond or theirs < 0 or not 0 <= ours <= student:
            last = "the teacher's last layer" if teacher is None else teacher
            raise RecipeError(
                f"The pair [{ours}, {theirs}] names a layer that is not there.",
                where=where,
                accepted=f"[student, teacher] with 0 to {student} and 0 to {last}; 0 is the embedding",
            )
