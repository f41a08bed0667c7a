"""The layout of llama2.c's `model.bin`: the header and where each tensor lies, in its three versions.

Source: llama2.c (https://github.com/karpathy/llama2.c), `export.py` and the readers in `run.c` and `runq.c`.
Everything is little-endian. Version 0 starts with seven 32-bit integers, of which a negative vocabulary says
that the classifier is not the embedding table; versions 1 and 2 have a header of 256 bytes with a magic
number, a flag for the classifier and, in version 2, the group size at byte 37.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

Version = Literal[0, 1, 2]
MAGIC = 0x616B3432
HEADER_BYTES = 256
LEGACY = struct.Struct("<7i")
PREFIX = struct.Struct("<Ii7iB")
GROUP = struct.Struct("<i")

# Tensors in the order of the file, by llama2.c's names; those in PER_LAYER lie there once for each layer.
ATTENTION, MLP = ("wq", "wk", "wv", "wo"), ("w1", "w2", "w3")
PER_LAYER = frozenset({"attention_norm", "ffn_norm", *ATTENTION, *MLP})
NORMS = frozenset({"attention_norm", "ffn_norm", "norm"})
TABLES = frozenset({"freqs_cos", "freqs_sin"})
_LEGACY_ORDER = (
    *("tok_embeddings", "attention_norm", *ATTENTION, "ffn_norm", *MLP, "norm", "freqs_cos", "freqs_sin"),
    "output",
)
_ORDER = ("attention_norm", "ffn_norm", "norm", "tok_embeddings", *ATTENTION, *MLP, "output")


@dataclass(frozen=True)
class Header:
    """The figures of a file.

    `shared` says that the embedding table is the classifier too. `group_size` is the number of weights that
    have one scale in version 2, 0 in the others.
    """

    version: Version
    dim: int
    hidden_dim: int
    layers: int
    heads: int
    kv_heads: int
    vocabulary: int
    length: int
    shared: bool
    group_size: int = 0

    @property
    def head_dim(self) -> int:
        """Numbers in one head."""
        return self.dim // self.heads

    @property
    def kv_dim(self) -> int:
        """Numbers in the keys of one token and layer."""
        return self.head_dim * self.kv_heads

    def pack(self) -> bytes:
        """The header as it starts the file."""
        figures = (self.dim, self.hidden_dim, self.layers, self.heads, self.kv_heads)
        if self.version == 0:
            vocabulary = self.vocabulary if self.shared else -self.vocabulary
            return LEGACY.pack(*figures, vocabulary, self.length)
        prefix = PREFIX.pack(MAGIC, self.version, *figures, self.vocabulary, self.length, self.shared)
        group = GROUP.pack(self.group_size) if self.version == 2 else b""
        return (prefix + group).ljust(HEADER_BYTES, b"\0")


class Part(NamedTuple):
    """One tensor of a file: its name, its layer (0 where there is one for all), shape and first byte.

    A quantized one holds int8 for each element and then a float32 scale for each group.
    """

    name: str
    layer: int
    shape: tuple[int, ...]
    offset: int
    quantized: bool
    group_size: int

    @property
    def elements(self) -> int:
        """The number of values."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes in the file."""
        return self.elements + 4 * (self.elements // self.group_size) if self.quantized else 4 * self.elements

    @property
    def end(self) -> int:
        """The byte after the last."""
        return self.offset + self.nbytes


def parts(header: Header) -> Iterator[Part]:
    """The tensors of a file in its order; the last one's end is the size of the file."""
    offset = len(header.pack())
    for name in _LEGACY_ORDER if header.version == 0 else _ORDER:
        if name == "output" and header.shared:
            continue
        shape, quantized = _shape(name, header), header.version == 2 and name not in NORMS
        for layer in range(header.layers if name in PER_LAYER else 1):
            part = Part(name, layer, shape, offset, quantized, header.group_size)
            yield part
            offset = part.end


def file_size(header: Header) -> int:
    """Bytes of the whole file."""
    *_, last = parts(header)
    return last.end


def _shape(name: str, header: Header) -> tuple[int, ...]:
    dim, hidden = header.dim, header.hidden_dim
    if name in NORMS:
        return (dim,)
    if name in TABLES:
        return (header.length, header.head_dim // 2)
    return {
        "tok_embeddings": (header.vocabulary, dim),
        "output": (header.vocabulary, dim),
        "wq": (dim, dim),
        "wk": (header.kv_dim, dim),
        "wv": (header.kv_dim, dim),
        "wo": (dim, dim),
        "w1": (hidden, dim),
        "w2": (dim, hidden),
        "w3": (hidden, dim),
    }[name]
