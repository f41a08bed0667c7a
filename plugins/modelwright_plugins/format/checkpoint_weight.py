"""One tensor of a checkpoint in pieces, rotary weights rearranged for runtimes that rotate neighbours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from modelwright_plugins.format.safetensors_header import TensorEntry

PIECE_BYTES = 2**24
# Types of safetensors that hold floats, and how NumPy reads them; bfloat16 as its bits.
STORED = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}


@dataclass(frozen=True)
class Weight:
    """One tensor: its name in the other format, its place, and for queries and keys the heads to permute."""

    name: str
    file: Path
    entry: TensorEntry
    permuted_heads: int | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns, or the length of a vector."""
        return self.entry.shape

    @property
    def _columns(self) -> int:
        return self.shape[-1] if len(self.shape) > 1 else 1

    def pieces(self) -> Iterator[NDArray[np.float32]]:
        """The values as float32 in rows and columns, some at a time; whole heads at a time."""
        columns = self._columns
        rows = self.entry.elements // columns
        unit = rows // self.permuted_heads if self.permuted_heads else 1
        step = max(1, PIECE_BYTES // (4 * columns * unit)) * unit
        for start in range(0, rows, step):
            values = self._read(start, min(step, rows - start)).reshape(-1, columns)
            if self.permuted_heads:
                halves = values.reshape(-1, 2, unit // 2, columns)
                values = halves.swapaxes(1, 2).reshape(-1, columns)
            yield np.ascontiguousarray(values)

    def _read(self, row: int, rows: int) -> NDArray[np.float32]:
        stored = np.dtype(STORED[self.entry.dtype])
        columns = self._columns
        offset = self.entry.start + row * columns * stored.itemsize
        values = np.fromfile(self.file, stored, rows * columns, offset=offset)
        if self.entry.dtype == "BF16":
            return (values.astype(np.uint32) << 16).view(np.float32)
        return values.astype(np.float32, copy=False)
