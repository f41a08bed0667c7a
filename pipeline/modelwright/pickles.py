"""Finds pickles by what the files hold, not by what they are called."""

from __future__ import annotations

import pickletools
import zipfile
from pathlib import Path


def pickles(folder: Path) -> list[str]:
    """The files below a folder that are pickles or archives of pickles, relative to it, in sorted order.

    >>> pickles(tmp_path)
    ['model.bin']

    Knows pickles of protocol 2 and later, the archives `torch.save` writes, and arrays of objects.
    """
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return [str(file.relative_to(folder)) for file in files if _is_pickle(file)]


def _is_pickle(file: Path) -> bool:
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            return any(name.endswith((".pkl", ".pickle")) for name in archive.namelist())
    with file.open("rb") as stream:
        start = stream.read(128)
        if start.startswith(b"\x93NUMPY"):
            return b"'|O'" in start
        if not start.startswith(b"\x80"):  # the opcode that names the protocol
            return False
        stream.seek(0)
        try:
            for _ in pickletools.genops(stream):  # reads the opcodes, runs none
                pass
        except ValueError:
            return False
        return True
