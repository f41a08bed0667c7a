"""How far a student is from its teacher."""

from __future__ import annotations

from typing import Literal

import torch
from torch.nn import functional

Distance = Literal["cosine", "mse"]


def distances(student: torch.Tensor, teacher: torch.Tensor, kind: Distance) -> torch.Tensor:
    """1 - cosine, or the mean squared error of the elements, of vectors [..., width]: [...]."""
    if kind == "mse":
        return (student - teacher).square().mean(-1)
    return 1 - functional.cosine_similarity(student, teacher, dim=-1)


def similarity_distance(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """The squared error of the cosines between all pairs of a batch, vectors as [n, any width].

    Relational knowledge distillation (Park et al. 2019, arXiv:1904.05068) by cosines; widths may differ.
    """
    ours, theirs = (functional.normalize(vectors, dim=-1) for vectors in (student, teacher))
    return functional.mse_loss(ours @ ours.T, theirs @ theirs.T)


def soft_cross_entropy(
    student: torch.Tensor, teacher: torch.Tensor, temperature: float, indices: torch.Tensor | None = None
) -> torch.Tensor:
    """KL(teacher || student) x T² of logits [n, classes], both divided by the temperature T; mean of rows.

    Hinton et al. 2015, arXiv:1503.02531. With `indices` [n, k] the teacher's logits are those of k classes,
    and it gives the rest no chance.
    """
    ours = functional.log_softmax(student.float() / temperature, dim=-1)
    theirs = functional.log_softmax(teacher.float() / temperature, dim=-1)
    if indices is not None:
        ours = ours.gather(-1, indices)
    return (theirs.exp() * (theirs - ours)).sum(-1).mean() * temperature**2
