"""Where a run reads and writes: the artifacts folder and the store."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from modelwright.errors import RecipeError
from modelwright.store.atomic import disk_errors
from modelwright.store.store import Store


@dataclass(frozen=True)
class Workspace:
    """The artifacts folder (`--artifacts`, MODELWRIGHT_ARTIFACTS, ./artifacts) and the store beside it.

    MODELWRIGHT_STORE points several checkouts, or a CI cache, at one store.
    """

    artifacts: Path
    store: Store

    @classmethod
    def locate(cls, artifacts: Path | None = None, store: Path | None = None) -> Workspace:
        """The workspace of explicit folders, else of the environment, else of the current folder."""
        root = artifacts or Path(os.environ.get("MODELWRIGHT_ARTIFACTS") or "artifacts")
        place = store or Path(os.environ.get("MODELWRIGHT_STORE") or root / ".store")
        return cls(root.absolute(), Store(place.absolute()))

    def check(self) -> None:
        """Raise RecipeError when the artifacts folder cannot be one; writes nothing."""
        if self.artifacts.exists() and not self.artifacts.is_dir():
            raise RecipeError(
                "The artifacts folder is a file.",
                where=str(self.artifacts),
                hint="give a folder: --artifacts DIR",
            )
        for folder in (self.artifacts, self.store.root):
            place = existing(folder)
            if not place.is_dir():
                raise RecipeError(f"'{folder}' cannot be a folder: '{place}' is a file.", where=str(place))
            if not os.access(place, os.W_OK):
                raise RecipeError(
                    f"'{folder}' cannot be written to.",
                    where=str(place),
                    hint="make it writable, or choose another folder (--artifacts, MODELWRIGHT_STORE)",
                )

    def prepare(self) -> None:
        """Make both folders. Raises RecipeError where that fails."""
        with disk_errors(self.artifacts, "write to the artifacts folder"):
            self.artifacts.mkdir(parents=True, exist_ok=True)
            probe = self.artifacts / f".write-{os.getpid()}"
            probe.write_bytes(b"")
            probe.unlink()
        self.store.prepare()


def existing(path: Path) -> Path:
    """The nearest folder above `path` (or itself) that is there."""
    return next(place for place in (path, *path.parents) if place.exists())
