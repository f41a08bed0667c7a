"""The header of a GGUF file: metadata, and each tensor's type, shape and place, without reading a weight.

Source: the GGUF format, version 3 (little-endian; magic, version, counts, key-value pairs, tensor infos,
data aligned to `general.alignment`). Read here because the `gguf` library's reader takes seconds for a
large vocabulary and does not say what is wrong with a file cut short.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from modelwright.errors import RecipeError

MODEL_FILE = "model.gguf"
Value = int | float | bool | str | list["Value"]
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
# Where in a block of quantized weights the scales are: float16, [start, end) in bytes.
_SCALES = {
    "Q4_0": (0, 2), "Q4_1": (0, 4), "Q5_0": (0, 2), "Q5_1": (0, 4), "Q8_0": (0, 2), "Q2_K": (80, 84),
    "Q3_K": (108, 110), "Q4_K": (0, 4), "Q5_K": (0, 4), "Q6_K": (208, 210), "IQ4_NL": (0, 2),
    "IQ4_XS": (0, 2),
}  # fmt: skip
# The exponent bits of each float type: all ones mean NaN or infinity.
_EXPONENTS = {"F32": ("<u4", 0x7F800000), "F16": ("<u2", 0x7C00), "BF16": ("<u2", 0x7F80)}


class TensorInfo(NamedTuple):
    """One tensor: its type's name, shape (rows first), and bytes [start, end) in the file."""

    kind: str
    shape: tuple[int, ...]
    start: int
    end: int

    @property
    def elements(self) -> int:
        """The number of values."""
        return int(np.prod(self.shape, dtype=np.int64))


class Header(NamedTuple):
    """Metadata by key, tensors by name."""

    metadata: dict[str, Value]
    tensors: dict[str, TensorInfo]


def read_header(folder: Path) -> Header:
    """The header of the folder's GGUF file.

    Raises RecipeError when there is none, it is damaged, or the file is shorter than its header says.
    """
    file = folder / MODEL_FILE
    if not file.is_file():
        raise RecipeError(f"The folder has no {MODEL_FILE}.", where=str(folder), accepted=MODEL_FILE)
    size = file.stat().st_size
    with file.open("rb") as stream:
        try:
            header = _Reader(stream, size).header()
        except (struct.error, KeyError, ValueError, OverflowError, MemoryError) as error:
            raise _damaged(file, f"its header does not read ({type(error).__name__}: {error})") from error
    end = max((tensor.end for tensor in header.tensors.values()), default=0)
    if end > size:
        raise _damaged(file, f"its header needs {end:,} bytes and the file has {size:,}")
    return header


def not_finite(file: Path, tensors: dict[str, TensorInfo]) -> Iterator[tuple[str, int]]:
    """Each tensor with NaN or infinity among its floats or scales, and how many; reads the weights."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    for name, tensor in tensors.items():
        if not tensor.elements:
            continue
        size = (tensor.end - tensor.start,)
        stored: NDArray[np.uint8] = np.memmap(file, np.uint8, "r", tensor.start, size)
        kind = tensor.kind
        if kind in _SCALES:
            first, last = _SCALES[kind]
            blocks = stored.reshape(-1, GGML_QUANT_SIZES[GGMLQuantizationType[kind]][1])
            stored, kind = np.ascontiguousarray(blocks[:, first:last]).reshape(-1), "F16"
        if kind in _EXPONENTS:
            view, mask = _EXPONENTS[kind]
            exponent = np.array(mask, view)
            bad = int(np.count_nonzero((stored.view(view) & exponent) == exponent))
            if bad:
                yield name, bad


class _Reader:
    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream = stream
        self._left = size

    def header(self) -> Header:
        if self._read(4) != b"GGUF":
            raise ValueError("no GGUF magic")
        version = self._scalar(4)
        if version not in (2, 3):
            raise ValueError(f"version {version}")
        tensors, pairs = int(self._scalar(10)), int(self._scalar(10))
        metadata: dict[str, Value] = {}
        for _ in range(pairs):
            key = self._string()
            metadata[key] = self._value(int(self._scalar(4)))
        infos = [self._info() for _ in range(tensors)]
        alignment = int(str(metadata.get("general.alignment", 32)))
        data = -(-self._stream.tell() // alignment) * alignment
        return Header(metadata, {name: _place(info, data) for name, info in infos})

    def _info(self) -> tuple[str, tuple[int, tuple[int, ...], int]]:
        name = self._string()
        dimensions = [int(self._scalar(10)) for _ in range(int(self._scalar(4)))]
        kind, offset = int(self._scalar(4)), int(self._scalar(10))
        return name, (kind, tuple(reversed(dimensions)), offset)

    def _value(self, kind: int) -> Value:
        if kind == _STRING:
            return self._string()
        if kind != _ARRAY:
            return self._scalar(kind)
        inner, count = int(self._scalar(4)), int(self._scalar(10))
        if inner in _SCALARS:
            code = f"<{count}{_SCALARS[inner]}"
            return list(struct.unpack(code, self._read(struct.calcsize(code))))
        return [self._value(inner) for _ in range(count)]

    def _scalar(self, kind: int) -> int | float | bool:
        code = "<" + _SCALARS[kind]
        value: int | float | bool = struct.unpack(code, self._read(struct.calcsize(code)))[0]
        return value

    def _string(self) -> str:
        return self._read(int(self._scalar(10))).decode("utf-8")

    def _read(self, count: int) -> bytes:
        self._left -= count
        if self._left < 0:
            raise ValueError("it ends too early")
        return self._stream.read(count)


def _place(info: tuple[int, tuple[int, ...], int], data: int) -> TensorInfo:
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    number, shape, offset = info
    kind = GGMLQuantizationType(number)
    block, size = GGML_QUANT_SIZES[kind]
    elements = int(np.prod(shape, dtype=np.int64))
    return TensorInfo(kind.name, shape, data + offset, data + offset + elements // block * size)


def _damaged(file: Path, detail: str) -> RecipeError:
    return RecipeError(
        f"The GGUF file is damaged or cut short: {detail}.",
        where=str(file),
        hint="export the model again, or copy the folder again",
    )
