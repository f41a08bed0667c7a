"""Paths that a recipe names: found, of the right kind and not empty, or an error that says what is near."""

from __future__ import annotations

import os
from pathlib import Path

from modelwright.errors import RecipeError, did_you_mean


def located(path: Path, where: str) -> Path:
    """The path with `~` expanded. Raises RecipeError when nothing is there, naming what is."""
    path = path.expanduser()
    if path.exists():
        return path
    parent = path.parent
    while not parent.is_dir() and parent != parent.parent:
        parent = parent.parent
    missing = path.relative_to(parent).parts[0] if path != parent else path.name
    try:
        siblings = sorted(entry.name for entry in parent.iterdir() if not entry.name.startswith("."))
    except OSError:
        siblings = []
    siblings.sort(key=lambda name: Path(name).suffix != path.suffix)
    listed = ", ".join(siblings[:8]) + (", …" if len(siblings) > 8 else "")
    raise RecipeError(
        f"There is no '{path}'.",
        where=where,
        accepted=f"in '{parent.resolve()}': {listed or '(nothing)'}",
        hint=did_you_mean(missing, siblings)
        or (None if path.is_absolute() else f"a relative path starts at {Path.cwd()}"),
    )


def readable_file(path: Path, where: str) -> Path:
    """A file with something in it, or RecipeError."""
    path = located(path, where)
    if path.is_dir():
        files = sorted(entry.name for entry in path.iterdir() if entry.is_file())
        raise RecipeError(
            f"'{path}' is a folder; this data set reads one file.",
            where=where,
            hint=f"give a file in it: {', '.join(files[:8])}" if files else "the folder has no files",
        )
    if not os.access(path, os.R_OK):
        raise RecipeError(f"'{path}' may not be read by this user.", where=where, hint=f"chmod +r '{path}'")
    if not path.stat().st_size:
        raise RecipeError(f"'{path}' is empty.", where=where, hint="write the records into it first")
    return path


def not_encoded(path: Path, encoding: str, error: UnicodeDecodeError, where: str) -> RecipeError:
    """The error for a file in another encoding than the recipe says."""
    return RecipeError(
        f"'{path}' is not {encoding} text: byte 0x{error.object[error.start]:02x} cannot be read.",
        where=where,
        accepted="UTF-8, or the encoding that `encoding` names",
        hint="say what it is (encoding: latin-1 or cp1252 are usual), or convert the file",
    )


def known_encoding(encoding: str) -> str:
    """The name of a text encoding that Python knows; ValueError otherwise."""
    try:
        "".encode(encoding)
    except LookupError:
        raise ValueError(f"'{encoding}' is not an encoding; utf-8, latin-1 and cp1252 are") from None
    return encoding
