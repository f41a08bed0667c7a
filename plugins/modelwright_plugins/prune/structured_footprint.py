"""What cutting a checkpoint needs."""

from __future__ import annotations

from modelwright.api.anatomy import Anatomy, Shape
from modelwright.api.model import ModelSize
from modelwright.api.stage import MIB, Footprint


def structured_footprint(size: ModelSize, result: ModelSize, tokens: int, *, gradients: bool) -> Footprint:
    """The checkpoint as it is mapped, new memory for each tensor that changes, and one batch of `tokens`.

    With `gradients` the activations of all layers are held, and the logits of every token of a model that
    generates. Fitted to MiniLM, the reference language model and a Llama of 0.2 billion parameters.
    """
    activations = 0
    if size.anatomy is not None:
        activations = 4 * tokens * _values(size.anatomy.shape, gradients=gradients)
    return Footprint(
        memory_bytes=400 * MIB + size.weight_bytes + _copied(size, result) + activations,
        disk_bytes=result.weight_bytes + 2 * MIB,
        result=result,
    )


def _values(shape: Shape, *, gradients: bool) -> int:
    """The values held for a token."""
    layer = 10 * (shape.hidden or 0) + 3 * (shape.intermediate or 0)
    if not gradients:
        return layer
    return (shape.layers or 0) * layer + (4 * (shape.vocabulary or 0) if shape.generates else 0)


def _copied(size: ModelSize, result: ModelSize) -> int:
    """Bytes of the tensors that are not as large as before."""
    if size.anatomy is None or result.anatomy is None:
        return result.weight_bytes
    before = _shapes(size.anatomy)
    changed = sum(
        tensor.elements
        for module in result.anatomy.modules
        for tensor in module.tensors
        if before[(module.path, tensor.name)] != tensor.shape
    )
    return round(changed * result.weight_bytes / max(1, result.parameters))


def _shapes(anatomy: Anatomy) -> dict[tuple[str, str], tuple[int, ...]]:
    return {
        (module.path, tensor.name): tensor.shape for module in anatomy.modules for tensor in module.tensors
    }
