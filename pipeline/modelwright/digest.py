"""SHA-256 digests of files, folders and plain data. Nothing here depends on where a folder lies."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple


class FileEntry(NamedTuple):
    """One file of a folder: its SHA-256 in hex and its size in bytes."""

    sha256: str
    size: int


def digest_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest_json(value: Any) -> str:
    """SHA-256 of plain data in canonical JSON (sorted keys, no spaces), in hex."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def list_folder(path: Path) -> dict[str, FileEntry]:
    """Every file below `path` by its POSIX path relative to it, in sorted order."""
    files = sorted((file.relative_to(path).as_posix(), file) for file in path.rglob("*") if file.is_file())
    return {name: FileEntry(digest_file(file), file.stat().st_size) for name, file in files}


def digest_entries(entries: Mapping[str, FileEntry]) -> str:
    """SHA-256 of a folder listing: names and contents, not times or places."""
    return digest_json({name: entry.sha256 for name, entry in entries.items()})


def digest_folder(path: Path) -> str:
    """SHA-256 of a folder's names and contents, in hex."""
    return digest_entries(list_folder(path))
