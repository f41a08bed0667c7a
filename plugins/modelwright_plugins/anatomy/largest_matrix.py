"""The largest matrix of a model, which predictions of memory need to know."""

from __future__ import annotations

from modelwright.api.model import ModelSize


def largest_matrix(size: ModelSize) -> int:
    """Number of weights of the largest matrix, as a rule the token table.

    Where only parameters are known, as Llama shapes of 0.1 to 1.1 billion have it: vocabularies grow slower.
    """
    if size.anatomy is not None:
        return max(tensor.elements for module in size.anatomy.modules for tensor in module.tensors)
    return int(min(size.parameters / 2, 15_900 * size.parameters**0.4))
