"""How many bytes weights take in a dtype, scales included."""

from __future__ import annotations

from typing import NamedTuple

from modelwright.api.anatomy import Anatomy, Group, Tensor

LINEAR: frozenset[Group] = frozenset({"linear"})
LINEAR_AND_HEAD: frozenset[Group] = frozenset({"linear", "head"})


class Scheme(NamedTuple):
    """A way to store weights.

    `bits` are those of a value. The matrices of `quantized` groups have a scale of `scale_bits` for each
    `block` values: along the inputs of one output, or over the flattened tensor where `flat`; 0 is one
    scale per output. Everything else has `rest_bits`.
    """

    bits: int
    rest_bits: int
    what: str
    quantized: frozenset[Group] = frozenset()
    block: int = 0
    scale_bits: int = 0
    flat: bool = False

    def tensor_bits(self, tensor: Tensor) -> int:
        """Bits of one tensor with its scales."""
        if tensor.item_bytes is not None:
            return 8 * tensor.item_bytes * tensor.elements
        if tensor.group not in self.quantized or not tensor.inputs:
            return self.rest_bits * tensor.elements
        return self.matrix_bits(tensor.elements, tensor.inputs)

    def matrix_bits(self, elements: int, inputs: int) -> int:
        """Bits of a quantized matrix of that many values, `inputs` of them per output."""
        outputs = elements // inputs
        if self.flat:
            scales = -(-elements // self.block)
        else:
            scales = outputs * (-(-inputs // self.block) if self.block else 1)
        return self.bits * elements + self.scale_bits * scales


SCHEMES: dict[str, Scheme] = {
    "fp32": Scheme(32, 32, "all weights in 32 bits"),
    "bf16": Scheme(16, 16, "all weights in 16 bits"),
    "fp16": Scheme(16, 16, "all weights in 16 bits"),
    "int8": Scheme(
        8,
        16,
        "linear layers in 8 bits with a 32-bit scale per output (bitsandbytes LLM.int8); embedding, head, "
        "norms and biases in 16 bits",
        LINEAR,
        scale_bits=32,
    ),
    "nf4": Scheme(
        4,
        16,
        "linear layers in 4 bits with a 32-bit scale per 64 values (bitsandbytes, without double "
        "quantization); embedding, head, norms and biases in 16 bits",
        LINEAR,
        block=64,
        scale_bits=32,
        flat=True,
    ),
    "int4": Scheme(
        4,
        16,
        "linear layers and head in 4 bits with a 16-bit scale per 32 inputs (MatMulNBits, symmetric; Q4_0); "
        "embedding, norms and biases in 16 bits; a tied head is a 4-bit copy beside the embedding",
        LINEAR_AND_HEAD,
        block=32,
        scale_bits=16,
    ),
}

# What the field calls the same dtype elsewhere (torch, safetensors).
ALIASES = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16", "float64": "fp32"}


def weight_bytes(anatomy: Anatomy, dtype: str) -> int:
    """Bytes of all parameters in a dtype of `SCHEMES`; buffers are not counted."""
    scheme = SCHEMES[dtype]
    bits = sum(scheme.tensor_bits(tensor) for tensor in anatomy.tensors() if tensor.group != "buffer")
    return (bits + _tied_head_bits(anatomy, scheme)) // 8


def buffer_bytes(anatomy: Anatomy, dtype: str) -> int:
    """Bytes of what modules hold beside their parameters: masks, rotary frequencies."""
    scheme = SCHEMES[dtype]
    return sum(scheme.tensor_bits(tensor) for tensor in anatomy.tensors() if tensor.group == "buffer") // 8


def compute_bytes(dtype: str) -> int:
    """Bytes of a value that is computed with: 4 for fp32 weights, 2 for all others."""
    return 4 if dtype == "fp32" else 2


def _tied_head_bits(anatomy: Anatomy, scheme: Scheme) -> int:
    """A table looks rows up in 16 bits and multiplies in 4: a tied one is then held twice."""
    if "head" not in scheme.quantized or not any(alias.endswith("weight") for alias, _ in anatomy.tied):
        return 0
    width, rows = anatomy.shape.hidden, anatomy.shape.vocabulary
    return scheme.matrix_bits(width * rows, width) if width and rows else 0
