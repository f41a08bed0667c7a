"""Where a released artifact goes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from modelwright.api.component import Component


class Published(NamedTuple):
    """A released version and where it lies."""

    version: int
    path: Path


class Publisher(Component):
    """Takes a released artifact and makes a version of it that never changes again.

    `root` is the artifacts folder of the run. `latest` finds the newest version of a name. `publish` picks
    the next version number, calls `build(folder, version)` to have the artifact written into an empty
    folder, and makes it visible under its number in one atomic move, or not at all.
    """

    @abstractmethod
    def check(self, root: Path, name: str) -> None:
        """Raise when nothing can be published there. Runs in the plan."""

    @abstractmethod
    def latest(self, root: Path, name: str) -> Published | None:
        """The newest version, or None."""

    @abstractmethod
    def publish(self, root: Path, name: str, build: Callable[[Path, int], None]) -> Published:
        """Make the next version."""
