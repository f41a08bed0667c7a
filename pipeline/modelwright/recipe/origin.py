"""Where a key of a composed recipe was written: an override, or a YAML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml


class Origin:
    """Finds the source of a key among the overrides and the files that were composed.

    `files` maps each file to the key under which its content was placed ("" for the whole recipe). Files
    are read when a key is first asked for, and once.
    """

    def __init__(self, overrides: Sequence[str], files: Mapping[Path, str]) -> None:
        self._overrides = overrides
        self._files = files
        self._contents: dict[Path, Any] = {}

    def of(self, key: str) -> str:
        """A phrase naming the key and where it was set, such as `key stages.a.b in recipe.yaml`."""
        override = self._override_of(key)
        if override is not None:
            return f"key {key}, set by the override '{override}'"
        parts = key.split(".")
        for length in range(len(parts), 0, -1):
            for file, package in self._files.items():
                if self._holds(file, package, parts[:length]):
                    return f"key {key}, in {file}"
        return f"key {key}"

    def of_mapping(self, key: str) -> str:
        """The same for a mapping whose entries do not go together: every override of one, if there is any."""
        below = [f"'{text}'" for text in self._overrides if text.lstrip("+~").startswith(f"{key}.")]
        return f"key {key}, with {' and '.join(below)}" if below else self.of(key)

    def _override_of(self, key: str) -> str | None:
        """The override that set a key: the one that names most of it, and of those the last."""
        # `model=local` chooses a file, and it is that file which sets `model.path`.
        groups = {package for package in self._files.values() if package}
        named = [(text.lstrip("+~").partition("=")[0], text) for text in self._overrides]
        setting = [
            (len(name), text)
            for name, text in named
            if name not in groups and (key == name or key.startswith(f"{name}."))
        ]
        longest = max((length for length, _ in setting), default=0)
        return next((text for length, text in reversed(setting) if length == longest), None)

    def _holds(self, file: Path, package: str, parts: Sequence[str]) -> bool:
        prefix = package.split(".") if package else []
        if list(parts[: len(prefix)]) != prefix:
            return False
        node = self._content(file)
        for part in parts[len(prefix) :]:
            if not isinstance(node, dict) or part not in node:
                return False
            node = node[part]
        return True

    def _content(self, file: Path) -> Any:
        if file not in self._contents:
            try:
                self._contents[file] = yaml.safe_load(file.read_text(encoding="utf-8"))
            except (OSError, ValueError, yaml.YAMLError):
                self._contents[file] = None
        return self._contents[file]
