"""What quantizing the weights of a graph needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelwright.api.model import ModelSize
from modelwright.api.stage import MIB, Footprint
from modelwright_plugins.anatomy.largest_matrix import largest_matrix
from modelwright_plugins.format.onnx_graph import INLINE_LIMIT
from modelwright_plugins.weight_only.calibration import HESSIAN_BYTES

if TYPE_CHECKING:
    from modelwright_plugins.quantize.onnx_weight_only import QuantizeOnnxWeightOnly


def weight_only_footprint(stage: QuantizeOnnxWeightOnly, size: ModelSize) -> Footprint:
    """What is quantized, and the largest matrix in the copies that this makes; all weights where they are
    inside the graph; and what runs through a session. Fitted to `python -m benchmarks.footprint`.
    """
    stored = _stored(stage, size, stage.budget or stage.bits)
    memory = 130 * MIB + stored + 3.2 * 4 * largest_matrix(size) + _session(stage, size)
    if size.weight_bytes <= INLINE_LIMIT:
        memory += size.weight_bytes
    return Footprint(
        memory_bytes=int(memory),
        disk_bytes=stored + 2 * MIB,
        result=ModelSize(parameters=size.parameters, weight_bytes=stored),
    )


def _stored(stage: QuantizeOnnxWeightOnly, size: ModelSize, bits: float) -> int:
    """Bytes of all weights in so many bits, with scales and zero points."""
    return int(size.parameters * (bits + (16 if stage.symmetric else 36) / stage.block_size) / 8)


def _session(stage: QuantizeOnnxWeightOnly, size: ModelSize) -> float:
    """Bytes of a session, with Hessians or, to spend a budget, with logits; and weights in both bits."""
    calibrating = measuring = more = 0.0
    if stage.method == "gptq":
        calibrating = (1.5 if size.weight_bytes <= INLINE_LIMIT else 0.9) * size.weight_bytes
        calibrating += min(HESSIAN_BYTES, 6 * size.parameters)
    if stage.budget is not None:
        vocabulary = (size.anatomy and size.anatomy.shape.vocabulary) or 0
        measuring = size.weight_bytes + 32 * stage.length * vocabulary
        more = _stored(stage, size, 8) if stage.high_bits == 8 else 0
    return max(calibrating, measuring) + more
