"""Publishes into the artifacts folder: numbered versions that never change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from modelwright.api.publisher import Published, Publisher
from modelwright.artifact.shelf import Shelf
from modelwright.errors import RecipeError
from modelwright.store.atomic import new_folder


class Local(Publisher, name="local"):
    """`artifacts/NAME/VERSION`, the next number each time."""

    def check(self, root: Path, name: str) -> None:
        """Refuse a name whose folder is taken by a file."""
        if (root / name).exists() and not (root / name).is_dir():
            raise RecipeError(f"The name '{name}' is taken by a file.", where=str(root / name))

    def latest(self, root: Path, name: str) -> Published | None:
        """The version with the largest number."""
        versions = Shelf(root).versions(name)
        return Published(versions[-1], root / name / str(versions[-1])) if versions else None

    def publish(self, root: Path, name: str, build: Callable[[Path, int], None]) -> Published:
        """Write the next version aside and rename it into place, under a lock."""
        (root / name).mkdir(parents=True, exist_ok=True)
        with FileLock(root / name / ".lock"):
            versions = Shelf(root).versions(name)
            version = versions[-1] + 1 if versions else 1
            path = root / name / str(version)
            with new_folder(path, root / name / ".incoming") as folder:
                build(folder, version)
        return Published(version, path)
