"""Publishes into the artifacts folder: numbered versions that never change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from modelwright.api.publisher import Published, Publisher
from modelwright.artifact.shelf import Shelf
from modelwright.errors import RecipeError
from modelwright.store.atomic import new_folder, remove_folder


class Local(Publisher, name="local"):
    """`artifacts/NAME/VERSION`, the next number each time."""

    def check(self, root: Path, name: str) -> None:
        """Refuse a name whose folder is taken by a file, or whose labels do not read."""
        if (root / name).exists() and not (root / name).is_dir():
            raise RecipeError(f"The name '{name}' is taken by a file.", where=str(root / name))
        Shelf(root).labels(name)

    def latest(self, root: Path, name: str) -> Published | None:
        """The version with the largest number; None where it does not open, so that a new one is made."""
        try:
            found = Shelf(root).find(name)
        except RecipeError:
            return None
        return Published(int(found.path.name), found.path)

    def publish(self, root: Path, name: str, build: Callable[[Path, int], None]) -> Published:
        """Write the next version aside and rename it into place, under a lock."""
        (root / name).mkdir(parents=True, exist_ok=True)
        incoming = root / name / ".incoming"
        with FileLock(root / name / ".lock"):
            remove_folder(incoming)  # left by a run that was killed; we hold the lock
            version = Shelf(root).next_version(name)
            path = root / name / str(version)
            with new_folder(path, incoming) as folder:
                build(folder, version)
        return Published(version, path)
