"""Where recipes and other options lie: the folders of YAML that plugins bring."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from modelwright.registry import Registry

GROUPS = ("recipe", "model", "target", "validate")


def available(registry: Registry, group: str) -> dict[str, Path]:
    """The options of a config group by name, over all plugins."""
    folders = [folder for place in locations(registry) if (folder := config_folder(place))]
    return {file.stem: file for folder in folders for file in sorted((folder / group).glob("*.yaml"))}


def locations(registry: Registry) -> list[str]:
    """Every plugin's folder of YAML, as `pkg://package` or `file:///path`, each once."""
    return list(dict.fromkeys(registry.config_folders))


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
