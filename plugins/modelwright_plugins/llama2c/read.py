"""Reads llama2.c's `model.bin`: the header, refused unless it can be one, and the tensors, memory-mapped."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from modelwright.api.runner import Floats, Tokens
from modelwright.errors import RecipeError
from modelwright_plugins.llama2c.layout import (
    GROUP,
    HEADER_BYTES,
    LEGACY,
    MAGIC,
    PER_LAYER,
    PREFIX,
    Header,
    Part,
    Version,
    file_size,
    parts,
)
from modelwright_plugins.llama2c.quantize import dequantize, round_activations

MODEL_FILE = "model.bin"
# Beyond these a header is no header, and the arithmetic on it would only hide that.
_MOST = {"dim": 2**20, "hidden_dim": 2**22, "layers": 2**12, "heads": 2**14, "vocabulary": 2**24}


def read_header(file: Path) -> Header:
    """The header of a file. Raises RecipeError for no header, or one that the size of the file belies."""
    if not file.is_file():
        raise RecipeError("The folder has no llama2.c model.", where=str(file.parent), accepted=MODEL_FILE)
    with file.open("rb") as stream:
        start = stream.read(HEADER_BYTES)
    header = _legacy(file, start) if start[:4] != MAGIC.to_bytes(4, "little") else _versioned(file, start)
    _check_figures(file, header)
    expected, found = file_size(header), file.stat().st_size
    if found != expected:
        how = "cut short" if found < expected else "too long"
        raise RecipeError(
            f"The model file is {how}: its header needs {expected:,} bytes and it has {found:,}.",
            where=str(file),
            hint="export the model again, or copy the file again",
        )
    return header


def _legacy(file: Path, start: bytes) -> Header:
    if len(start) < LEGACY.size:
        raise _damaged(file, f"it has {len(start)} bytes, and a header has {LEGACY.size}")
    dim, hidden, layers, heads, kv_heads, vocabulary, length = LEGACY.unpack_from(start)
    return Header(0, dim, hidden, layers, heads, kv_heads, abs(vocabulary), length, vocabulary > 0)


def _versioned(file: Path, start: bytes) -> Header:
    if len(start) < HEADER_BYTES:
        raise _damaged(file, f"it has {len(start)} bytes, and a header has {HEADER_BYTES}")
    _, version, *figures, shared = PREFIX.unpack_from(start)
    if version not in (1, 2):
        raise _damaged(file, f"its version is {version}, and there are 1 and 2 with this header")
    if shared not in (0, 1):
        raise _damaged(file, f"its flag for a shared classifier is {shared}")
    group = GROUP.unpack_from(start, PREFIX.size)[0] if version == 2 else 0
    dim, hidden, layers, heads, kv_heads, vocabulary, length = figures
    return Header(
        cast(Version, version), dim, hidden, layers, heads, kv_heads, vocabulary, length, bool(shared), group
    )


def _check_figures(file: Path, header: Header) -> None:
    figures = {name: getattr(header, name) for name in (*_MOST, "kv_heads", "length")}
    strange = [
        f"{name} {value}" for name, value in figures.items() if not 0 < value <= _MOST.get(name, 2**31)
    ]
    if strange:
        raise _damaged(file, f"its header says {', '.join(strange)}")
    if header.dim % header.heads or header.head_dim % 2 or header.heads % header.kv_heads:
        raise _damaged(
            file,
            f"its header says {header.heads} heads, {header.kv_heads} of keys and values, in a width of "
            f"{header.dim}",
        )
    if header.version == 2 and (
        header.group_size < 1 or header.dim % header.group_size or header.hidden_dim % header.group_size
    ):
        raise _damaged(
            file,
            f"its groups of {header.group_size} do not divide rows of {header.dim} and {header.hidden_dim}",
        )


def _damaged(file: Path, detail: str) -> RecipeError:
    return RecipeError(
        f"The file is no model of llama2.c: {detail}.",
        where=str(file),
        accepted="version 0 (seven integers), or 1 and 2 (a header of 256 bytes)",
    )


class Matrix:
    """A matrix of a file, [outputs, inputs], multiplied as llama2.c's program for the version does it."""

    def __init__(self, mapped: NDArray[np.uint8], part: Part) -> None:
        self._part = part
        self._values, self._scales = arrays(mapped, part)

    def rows(self, index: Tokens) -> Floats:
        """Rows of the matrix in float32."""
        rows = self._values[index]
        if self._scales is None:
            return rows
        scales = self._scales.reshape(len(self._values), -1)[index]
        return dequantize(rows.reshape(-1, rows.shape[-1]), scales.reshape(-1)).reshape(rows.shape)

    def apply(self, inputs: Floats) -> Floats:
        """Inputs of shape [..., inputs] times the transposed matrix; in version 2 rounded to 8 bits first."""
        if self._scales is None:
            return inputs @ self._values.T
        return round_activations(inputs, self._part.group_size) @ dequantize(self._values, self._scales).T


class Weights:
    """The tensors of a file: `weights.matrix("wq", 3)`, `weights.vector("norm")`."""

    def __init__(self, file: Path) -> None:
        self.header = read_header(file)
        self._mapped = np.asarray(np.memmap(file, np.uint8, "r"))
        self._parts = {(part.name, part.layer): part for part in parts(self.header)}

    def matrix(self, name: str, layer: int = 0) -> Matrix:
        """One matrix."""
        return Matrix(self._mapped, self._parts[name, layer])

    def vector(self, name: str, layer: int = 0) -> Floats:
        """The weights of one norm."""
        values, _ = arrays(self._mapped, self._parts[name, layer])
        return np.asarray(values, np.float32)


def arrays(mapped: NDArray[np.uint8], part: Part) -> tuple[NDArray[Any], Floats | None]:
    """A part's values in its shape, and its scales where it is quantized; views of the file's bytes."""
    if not part.quantized:
        return mapped[part.offset : part.end].view("<f4").reshape(part.shape), None
    middle = part.offset + part.elements
    return mapped[part.offset : middle].view(np.int8).reshape(part.shape), mapped[middle : part.end].view(
        "<f4"
    )


def not_finite(file: Path, header: Header) -> list[tuple[str, int]]:
    """Each tensor that holds NaN or infinity, with how many; reads the weights."""
    mapped = np.asarray(np.memmap(file, np.uint8, "r"))
    found = []
    for part in parts(header):
        values, scales = arrays(mapped, part)
        bad = int(np.count_nonzero(~np.isfinite(values if scales is None else scales)))
        if bad:
            found.append((f"{part.name} of layer {part.layer}" if part.name in PER_LAYER else part.name, bad))
    return found
