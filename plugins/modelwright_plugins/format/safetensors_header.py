"""The header of a safetensors file: names, types, shapes and offsets, without reading a weight.

Source: the safetensors format, version 0.x (8-byte little-endian header length, JSON header, raw data).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from modelwright.errors import RecipeError

BITS = {
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16, "I64": 64, "I32": 32, "I16": 16, "I8": 8, "U8": 8,
    "BOOL": 8, "F8_E4M3": 8, "F8_E5M2": 8, "U16": 16, "U32": 32, "U64": 64,
}  # fmt: skip
DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
# The exponent bits of each float type: all ones mean NaN or infinity.
_EXPONENTS = {
    "F64": ("<u8", 0x7FF0000000000000),
    "F32": ("<u4", 0x7F800000),
    "F16": ("<u2", 0x7C00),
    "BF16": ("<u2", 0x7F80),
}


class TensorEntry(NamedTuple):
    """One tensor: its type in safetensors' own words, shape, and bytes [start, end) in the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int

    @property
    def elements(self) -> int:
        """The number of values."""
        return int(np.prod(self.shape, dtype=np.int64))


def read_header(file: Path) -> dict[str, TensorEntry]:
    """The tensors of a file by name. Raises RecipeError when the file is damaged or cut short."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        prefix = stream.read(8)
        length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else size
        if 8 + length > size:
            raise _damaged(file, f"its header says {length:,} bytes and the file has {size:,}")
        try:
            header = json.loads(stream.read(length))
            entries = {
                name: TensorEntry(
                    entry["dtype"],
                    tuple(entry["shape"]),
                    8 + length + entry["data_offsets"][0],
                    8 + length + entry["data_offsets"][1],
                )
                for name, entry in header.items()
                if name != "__metadata__"
            }
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _damaged(file, "its header is not the JSON of a safetensors file") from error
    end = max((entry.end for entry in entries.values()), default=8 + length)
    if end != size:
        raise _damaged(file, f"its header needs {end:,} bytes and the file has {size:,}")
    return entries


def not_finite(file: Path) -> Iterator[tuple[str, int]]:
    """Each tensor that holds NaN or infinity, with how many such values; reads the weights."""
    for name, entry in read_header(file).items():
        if entry.dtype in _EXPONENTS and entry.elements:
            view, mask = _EXPONENTS[entry.dtype]
            values = np.memmap(file, np.dtype("u1"), "r", entry.start, (entry.end - entry.start,)).view(view)
            bad = int(np.count_nonzero((values & np.array(mask, view)) == np.array(mask, view)))
            if bad:
                yield name, bad


def _damaged(file: Path, detail: str) -> RecipeError:
    return RecipeError(
        f"The checkpoint is damaged or cut short: {detail}.",
        where=str(file),
        hint="download or copy the file again",
    )
