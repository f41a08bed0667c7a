"""Where a key of a composed recipe was written: an override, or a YAML file."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml


class Origin:
    """Finds the source of a key among the overrides and the files that were composed.

    `files` maps each file to the key under which its content was placed ("" for the whole recipe).
    """

    def __init__(self, overrides: Sequence[str], files: Mapping[Path, str]) -> None:
        self._overrides = overrides
        self._files = files

    def of(self, key: str) -> str:
        """A phrase naming the key and where it was set, such as `key stages.a.b in recipe.yaml`."""
        for text in self._overrides:
            name = text.lstrip("+~").partition("=")[0]
            if key == name or key.startswith(f"{name}."):
                return f"key {key}, set by the override '{text}'"
        parts = key.split(".")
        for length in range(len(parts), 0, -1):
            for file, package in self._files.items():
                if _holds(file, package, parts[:length]):
                    return f"key {key}, in {file}"
        return f"key {key}"


def _holds(file: Path, package: str, parts: Sequence[str]) -> bool:
    prefix = package.split(".") if package else []
    if list(parts[: len(prefix)]) != prefix:
        return False
    try:
        node = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return False
    for part in parts[len(prefix) :]:
        if not isinstance(node, dict) or part not in node:
            return False
        node = node[part]
    return True


def config_folder(location: str) -> Path | None:
    """The folder behind `pkg://package.name` or `file:///path`; None when the package is not there."""
    if location.startswith("file://"):
        return Path(location.removeprefix("file://"))
    package = location.removeprefix("pkg://")
    try:
        spec = importlib.util.find_spec(package)
    except ModuleNotFoundError:
        return None
    places = list(spec.submodule_search_locations or ()) if spec else []
    return Path(places[0]) if places else None
