"""Writes a checkpoint's weights into a GGUF file, tensor by tensor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from modelwright.errors import StageError
from modelwright_plugins.format.checkpoint_weight import Weight
from modelwright_plugins.gguf.types import stored_bytes, tensor_type

if TYPE_CHECKING:
    from gguf import GGMLQuantizationType, GGUFWriter

Progress = Callable[[int, int, str], None]


def write_tensors(
    writer: GGUFWriter,
    weights: Sequence[Weight],
    computed: dict[str, NDArray[np.float32]],
    kinds: tuple[str, str],
    progress: Progress,
) -> dict[str, str]:
    """Write metadata and tensors; returns the matrices that are stored otherwise than asked, and how.

    `kinds` are the type of matrices and that of the LM head; rows that its blocks do not divide become F16.
    Vectors and the `computed` tensors are float32. Memory: 16 MiB of float32 at a time. Raises StageError
    when a weight does not fit into float16.
    """
    from gguf import GGMLQuantizationType

    fallbacks: dict[str, str] = {}
    float32 = GGMLQuantizationType.F32
    head = "output.weight" if any(w.name == "output.weight" for w in weights) else "token_embd.weight"
    types = [_choose(weight, kinds[weight.name == head], fallbacks) for weight in weights]
    for name, values in computed.items():
        writer.add_tensor_info(name, values.shape, values.dtype, values.nbytes, raw_dtype=float32)
    for weight, kind in zip(weights, types, strict=True):
        size = stored_bytes(kind, weight.entry.elements)
        writer.add_tensor_info(weight.name, weight.shape, np.dtype(np.float32), size, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for values in computed.values():
        writer.write_tensor_data(values)
    for index, (weight, kind) in enumerate(zip(weights, types, strict=True)):
        writer.write_tensor_data(cast(NDArray[np.float32], _Encoded(weight, kind)))
        progress(index + 1, len(weights), weight.name)
    return fallbacks


def _choose(weight: Weight, wanted: str, fallbacks: dict[str, str]) -> GGMLQuantizationType:
    kind = tensor_type("F32" if len(weight.shape) == 1 else wanted, weight.shape[-1])
    if len(weight.shape) > 1 and kind.name != wanted:
        fallbacks[weight.name] = f"{wanted} -> {kind.name}"
    return kind


class _Encoded:
    """A tensor that is read and encoded while it is written: what GGUFWriter asks of an array, no more."""

    def __init__(self, weight: Weight, kind: GGMLQuantizationType) -> None:
        self._weight = weight
        self._kind = kind
        self.nbytes = stored_bytes(kind, weight.entry.elements)

    def tofile(self, stream: BinaryIO) -> None:
        """Write the encoded values."""
        from gguf import GGMLQuantizationType
        from gguf.quants import quantize

        for piece in self._weight.pieces():
            with np.errstate(over="ignore"):
                values = quantize(piece, self._kind)
            if self._kind == GGMLQuantizationType.F16 and np.isinf(values).sum() > np.isinf(piece).sum():
                raise StageError(
                    f"The weight '{self._weight.name}' does not fit into F16: it would become infinite.",
                    accepted="BF16, whose range is that of float32, or F32",
                )
            values.tofile(stream)
