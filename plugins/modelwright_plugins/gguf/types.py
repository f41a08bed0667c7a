"""The types that export.gguf stores weights in, and who can write each.

Source: GGUF and ggml's tables of types as the `gguf` library carries them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from gguf import GGMLQuantizationType

    from modelwright_plugins.gguf.header import TensorInfo

FileType = Literal[
    "F32", "F16", "BF16", "Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0",
    "Q6_K", "Q5_K_M", "Q5_K_S", "Q4_K_M", "Q4_K_S", "Q3_K_L", "Q3_K_M", "Q3_K_S", "Q2_K", "IQ4_NL", "IQ4_XS",
]  # fmt: skip
TensorType = Literal[
    "F32", "F16", "BF16", "Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0", "Q6_K", "Q5_K", "Q4_K",
]  # fmt: skip
# What the `gguf` library encodes in NumPy; the others take llama.cpp's own quantizer.
WRITTEN_HERE = ("F32", "F16", "BF16", "Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0")
FLOATS = ("F32", "F16", "BF16")
# A block has a scale and no offset: zero is exact.
WITH_ZERO = (*FLOATS, "Q8_0", "Q5_0", "Q4_0")
# Bits per weight with scales, for prediction; mixtures as llama.cpp makes them of a Llama.
BITS = {
    "F32": 32.0, "F16": 16.0, "BF16": 16.0, "Q8_0": 8.5, "Q5_1": 6.0, "Q5_0": 5.5, "Q4_1": 5.0, "Q4_0": 4.5,
    "Q6_K": 6.6, "Q5_K_M": 5.7, "Q5_K_S": 5.6, "Q4_K_M": 4.9, "Q4_K_S": 4.6, "Q3_K_L": 4.3, "Q3_K_M": 4.0,
    "Q3_K_S": 3.7, "Q2_K": 3.4, "IQ4_NL": 4.5, "IQ4_XS": 4.3,
}  # fmt: skip


def head_type(file_type: str, asked: str | None) -> str | None:
    """The type of the LM head: as asked, the file's own for floats and Q8_0, Q8_0 for fewer bits.

    None leaves it to llama.cpp's quantizer. The head takes most of the error of few bits.
    """
    if asked is not None:
        return asked
    if file_type not in WRITTEN_HERE:
        return None
    return file_type if file_type in FLOATS else "Q8_0"


def needs_llama_cpp(file_type: str, output_type: str | None) -> bool:
    """Whether the file takes llama.cpp's own quantizer."""
    head = head_type(file_type, output_type)
    return file_type not in WRITTEN_HERE or (head is not None and head not in WRITTEN_HERE)


def float_type(dtype: str) -> str:
    """The type that holds a checkpoint's weights without loss, for llama.cpp to quantize from."""
    return {"bfloat16": "BF16", "float16": "F16"}.get(dtype, "F32")


def tensor_type(wanted: str, columns: int) -> GGMLQuantizationType:
    """`wanted` for rows it divides, else F16, which is llama.cpp's own last resort."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    kind = GGMLQuantizationType[wanted]
    return kind if columns % GGML_QUANT_SIZES[kind][0] == 0 else GGMLQuantizationType.F16


def stored_bytes(kind: GGMLQuantizationType, elements: int) -> int:
    """Bytes of so many weights with their scales."""
    from gguf import GGML_QUANT_SIZES

    block, size = GGML_QUANT_SIZES[kind]
    return elements // block * size


def undivided(tensors: Mapping[str, TensorInfo], file_type: str) -> dict[str, str]:
    """What llama.cpp's quantizer put in place of blocks of 256, for rows that they do not divide."""
    if file_type in WRITTEN_HERE or file_type == "IQ4_NL":
        return {}
    return {
        name: f"{file_type} -> {tensor.kind}"
        for name, tensor in tensors.items()
        if len(tensor.shape) > 1 and tensor.shape[-1] % 256
    }
