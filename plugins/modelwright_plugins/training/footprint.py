"""What training a model needs."""

from __future__ import annotations

from collections.abc import Sequence

from modelwright.api.model import ModelSize
from modelwright.api.stage import MIB, Footprint
from modelwright_plugins.blockwise.name_patterns import matches

# Texts of encoders and classifiers are at most about this long, whatever the model takes.
TEXT_TOKENS = 256
# Batches of ever other lengths leave memory between their tensors that the next one does not fit into.
SPREAD = 1.4


def training_footprint(
    student: ModelSize,
    *,
    tokens: int,
    freeze: Sequence[str] = (),
    checkpointing: bool = False,
    processes: int = 1,
    teacher_bytes: int = 0,
) -> Footprint:
    """Weights, gradients and both moments of AdamW in float32, activations of `tokens`, a checkpoint.

    `tokens` are those of one pass in one process. Activations are what PyTorch keeps of a layer for its
    backward pass, about 10 vectors of the hidden width and those inside the MLP for each token; of logits
    six copies. Fitted to the recipes that train MiniLM and the reference language model.
    """
    shape = student.anatomy.shape if student.anatomy is not None else None
    layers = (shape.layers if shape else None) or 12
    hidden = (shape.hidden if shape else None) or 768
    inner = ((shape.intermediate if shape else None) or 4 * hidden) * (shape.inner_copies if shape else 2)
    trained = student.parameters - _frozen(student, freeze)
    layer = 4 * tokens * (10 * hidden + inner)
    activations = 4 * tokens * hidden * layers + layer if checkpointing else layers * layer
    if shape is not None and shape.generates:
        activations += 24 * tokens * (shape.vocabulary or 0)
    else:
        activations = int(SPREAD * activations)
    # The optimizer's state and what of it is written to a checkpoint at the same time.
    process = 520 * MIB + 4 * student.parameters + 24 * trained + activations + teacher_bytes
    return Footprint(
        memory_bytes=processes * process,
        # Weights and two moments, beside the best weights: the last of both, and those that replace them.
        disk_bytes=student.weight_bytes + 32 * trained + 2 * MIB,
        result=student,
    )


def _frozen(size: ModelSize, patterns: Sequence[str]) -> int:
    """Parameters that stay as they are, as far as their names are known."""
    if size.anatomy is None:
        return 0
    return sum(
        tensor.elements
        for module in size.anatomy.modules
        for tensor in module.tensors
        if tensor.group != "buffer" and matches(f"{module.path}.{tensor.name}", patterns)
    )
