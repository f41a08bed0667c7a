"""The metadata of a safetensors file in a fixed order: the library writes them in that of a hash map."""

from __future__ import annotations

import json
import struct
from pathlib import Path


def sort_metadata(file: Path) -> None:
    """Write a file's metadata sorted by key, in place; the header keeps its length.

    Without it, two files with the same tensors and metadata differ in their bytes.
    """
    with file.open("r+b") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        header = json.loads(stream.read(length))
        if "__metadata__" not in header:
            return
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        assert len(text) <= length
        stream.seek(8)
        stream.write(text.ljust(length))
