"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from modelwright.errors import MissingError, ModelwrightError, RecipeError


@contextmanager
def new_folder(path: Path, scratch: Path) -> Iterator[Path]:
    """An empty folder to fill; on leaving without an error it is fsynced and renamed to `path`.

    It lies in `scratch`, which must be on the file system of `path`. On an error nothing is left.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{path.name}.", dir=scratch))
    folder.chmod(0o755)
    try:
        yield folder
        move_folder(folder, path)
    except BaseException:
        remove_folder(folder)
        raise


def move_folder(folder: Path, path: Path) -> None:
    """Flush a filled folder to disk and rename it to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for entry in [*folder.rglob("*"), folder]:
        _fsync(entry)
    folder.rename(path)
    _fsync(path.parent)


def write_file(path: Path, content: str | bytes) -> None:
    """Replace a file's content in one step; text is written as UTF-8."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content.encode() if isinstance(content, str) else content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def seal(folder: Path) -> None:
    """Take away write permission from every file below `folder`."""
    for file in folder.rglob("*"):
        if file.is_file() and not file.is_symlink():
            file.chmod(stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH)


def remove_folder(folder: Path) -> None:
    """Remove a folder and all in it; no error when it is not there."""
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def disk_errors(place: Path, purpose: str) -> Iterator[None]:
    """Turn a full disk or a read-only folder into an error a user can act on."""
    try:
        yield
    except OSError as error:
        raise disk_error(error, place, purpose) from error


def disk_error(error: OSError, place: Path, purpose: str) -> ModelwrightError:
    """What says why `purpose` failed at `place`: MissingError where room is missing, else RecipeError."""
    kind = MissingError if error.errno in (errno.ENOSPC, errno.EDQUOT) else RecipeError
    return kind(
        f"Cannot {purpose}: {error.strerror or error}.",
        where=str(error.filename or place),
        hint="make room or make the folder writable, or choose another one (--artifacts, MODELWRIGHT_STORE)",
    )


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
