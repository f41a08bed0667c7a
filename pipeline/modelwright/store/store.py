"""Finished steps by key: sealed folders that runs share."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from modelwright.api.model import Model
from modelwright.digest import FileEntry, digest_entries, list_folder
from modelwright.errors import RecipeError
from modelwright.store.atomic import disk_errors, move_folder, new_folder, remove_folder, seal, write_file
from modelwright.store.waiting_lock import waiting_lock

STEP_FILE = "step.json"
LOG_FILE = "log.txt"


class SealedStep(NamedTuple):
    """A finished step in the store: its model and what was recorded while it ran."""

    key: str
    model: Model
    facts: dict[str, Any]
    log: Path


class Store:
    """A folder of finished steps; several runs and machines may share it.

    ::

        store/steps/<key>/{model/, step.json, log.txt}     sealed
        store/tmp/                                         being written
        store/checkpoints/<key>/                           survives a kill; gone when the step is sealed
        store/caches/<stage>/                              what makes a stage's next run faster
        store/locks/                                       one lock file per key

    A step is written aside and renamed when it is whole, so a killed run leaves nothing half-written.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def prepare(self) -> None:
        """Make the folders. Raises RecipeError when the place is not writable."""
        with disk_errors(self.root, "write to the store"):
            for name in ("steps", "tmp", "locks", "checkpoints", "caches", "evidence"):
                (self.root / name).mkdir(parents=True, exist_ok=True)
            write_file(self.root / "CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n")

    def find(self, key: str) -> SealedStep | None:
        """The finished step of that key; None when there is none or its files changed since."""
        folder = self.root / "steps" / key
        try:
            facts = json.loads((folder / STEP_FILE).read_text(encoding="utf-8"))
            if not _unchanged(folder / "model", facts["files"]):
                return None
            model = Model.open(folder / "model", facts["digest"])
        except (OSError, ValueError, KeyError, RecipeError):  # damaged, or of another version: made again
            return None
        _touch(folder)
        return SealedStep(key, model, facts, folder / LOG_FILE)

    def seal(self, key: str, folder: Path, facts: dict[str, Any]) -> SealedStep:
        """Take over a filled folder (with `model/` and the log in it) as the finished step of `key`."""
        with disk_errors(self.root, "write the step to the store"):
            entries = list_folder(folder / "model")
            stored = {
                **facts,
                "digest": digest_entries(entries),
                "files": _listing(folder / "model", entries),
            }
            write_file(folder / STEP_FILE, json.dumps(stored, indent=1))
            seal(folder)
            final = self.root / "steps" / key
            if final.exists():  # files of an earlier result were changed or removed
                remove_folder(final)
            move_folder(folder, final)
            remove_folder(self.checkpoints(key))
        found = self.find(key)
        assert found is not None
        return found

    @contextmanager
    def lock(self, key: str, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Hold the lock of a key; `on_wait` is called when another run holds it and we have to wait."""
        with waiting_lock(self.root / "locks" / f"{key}.lock", on_wait):
            yield

    @contextmanager
    def workspace(self, key: str) -> Iterator[Path]:
        """A folder to build the step of a key in; removed unless `seal` took it."""
        with disk_errors(self.root, "write to the store"):
            self._tidy(key)
            folder = self.root / "tmp" / f"{key}.{time.time_ns():x}"
            folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            remove_folder(folder)

    def _tidy(self, key: str) -> None:
        """Remove what killed runs left of a key whose lock we hold."""
        for stale in (self.root / "tmp").glob(f"{key}.*"):
            remove_folder(stale)

    def checkpoints(self, key: str) -> Path:
        """Where a stage keeps what must survive a kill."""
        return self.root / "checkpoints" / key

    def cache(self, stage: str) -> Path:
        """Where a stage's runs keep what makes the next faster and changes no result."""
        return self.root / "caches" / stage

    def evidence(self, key: str) -> Path | None:
        """The folder of observations kept under that key, or None."""
        folder = self.root / "evidence" / key
        if not folder.is_dir():
            return None
        _touch(folder)
        return folder

    @contextmanager
    def keep_evidence(self, key: str) -> Iterator[Path]:
        """A folder to fill with observations; visible under `key` when left without an error.

        The caller holds the lock of the key.
        """
        self._tidy(key)
        with (
            disk_errors(self.root, "write to the store"),
            new_folder(self.root / "evidence" / key, self.root / "tmp") as folder,
        ):
            yield folder

    def remove_unused(self, older_than_days: float) -> tuple[int, int]:
        """Remove what was not used for so many days, and all leftovers; returns how many and their bytes.

        What a run is making is left alone: each entry is removed under the lock of its key.
        """
        limit = time.time() - older_than_days * 86400
        removed = freed = 0
        for kind in ("steps", "evidence", "checkpoints", "caches", "tmp"):
            for folder in sorted((self.root / kind).glob("*")):
                size = self._remove(folder, limit)
                removed += size is not None
                freed += size or 0
        return removed, freed

    def _remove(self, folder: Path, limit: float) -> int | None:
        """Remove an entry not used since `limit`; its bytes, or None when it stays or went meanwhile."""
        lock = FileLock(self.root / "locks" / f"{folder.name.partition('.')[0]}.lock")
        # Another process may remove the same entries; a held lock says that a run is making this one.
        with suppress(FileNotFoundError, Timeout):
            if folder.stat().st_mtime > limit:
                return None
            with lock.acquire(timeout=0):
                if folder.stat().st_mtime > limit:
                    return None
                size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
                shutil.rmtree(folder)
                return size
        return None


def _touch(folder: Path) -> None:
    """Note that an entry was used. A store that only others may write to keeps its times."""
    with suppress(OSError):
        os.utime(folder)


def _listing(folder: Path, entries: dict[str, FileEntry]) -> dict[str, dict[str, Any]]:
    return {
        name: {"sha256": entry.sha256, "size": entry.size, "mtime_ns": (folder / name).stat().st_mtime_ns}
        for name, entry in entries.items()
    }


def _unchanged(folder: Path, files: dict[str, dict[str, Any]]) -> bool:
    """Whether a sealed folder is as it was: by size and time, and by content where the time differs."""
    found = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*") if file.is_file()}
    if found.keys() != files.keys():
        return False
    differing = [
        name
        for name, facts in files.items()
        if (found[name].stat().st_size, found[name].stat().st_mtime_ns) != (facts["size"], facts["mtime_ns"])
    ]
    if not differing:
        return True
    entries = list_folder(folder)
    return all(entries[name].sha256 == facts["sha256"] for name, facts in files.items())
