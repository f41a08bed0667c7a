"""Writes a complete plugin package: an entry point, one stage, and tests that run."""

from __future__ import annotations

import importlib.util
import re
import sys
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template

from modelwright import __version__
from modelwright.errors import RecipeError
from modelwright.store.atomic import new_folder

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
LONGEST = 40
PREFIX = "modelwright-"
SUFFIX = ".template"
# What the templates' own paths stand for; a dot at the start would hide a file from packaging tools.
_PATHS = {"package": "$package", "gitignore": ".gitignore"}


def write_plugin(name: str, into: Path) -> Path:
    """Write the package `modelwright-NAME` below `into` and return its folder.

    >>> write_plugin("my-pruning", Path("."))
    PosixPath('modelwright-my-pruning')

    It appears whole or not at all. Raises RecipeError for a name that cannot be a package or is taken by a
    module that is installed, for a folder that is there already, and for a place that cannot be written to.
    """
    package = _package_name(name)
    folder = into / f"{PREFIX}{name}"
    if folder.exists() or folder.is_symlink():
        raise RecipeError(
            f"'{folder}' is there already.",
            where=str(folder.absolute()),
            hint="choose another name, or another --into",
        )
    words = {
        "name": name,
        "package": package,
        "stage": f"{package.removeprefix('modelwright_')}.threshold",
        "version": __version__,
        "below": _next_minor(__version__),
    }
    try:
        with new_folder(folder, into) as aside:
            for path, text in _templates(resources.files("modelwright.scaffold") / "templates", ""):
                file = aside / Template(path).substitute(words)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(Template(text).substitute(words), encoding="utf-8")
    except OSError as error:
        raise RecipeError(
            f"The plugin cannot be written: {error.strerror or error}.",
            where=str(into.absolute()),
            hint="choose a folder you can write to: --into DIR",
        ) from error
    return folder


def _package_name(name: str) -> str:
    """The import name for a plugin's name. Raises RecipeError where it would be none, or another module's."""
    if not NAME.fullmatch(name) or len(name) > LONGEST:
        near = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-0123456789")[:LONGEST].rstrip("-")
        raise RecipeError(
            f"'{name}' cannot be a plugin's name.",
            where="NAME",
            accepted=f"lower-case letters, digits and single dashes, a letter first, {LONGEST} at most",
            hint=f"for example: modelwright new-plugin {near or 'my-pruning'}",
        )
    if name.startswith(PREFIX) or name == PREFIX.strip("-"):
        raise RecipeError(
            f"'{name}' would become '{PREFIX}{name}'.",
            where="NAME",
            hint=f"leave '{PREFIX}' out: modelwright new-plugin {name.removeprefix(PREFIX) or 'my-pruning'}",
        )
    package = f"{PREFIX}{name}".replace("-", "_")
    if name.replace("-", "_") in sys.stdlib_module_names or importlib.util.find_spec(package) is not None:
        taken = package if importlib.util.find_spec(package) is not None else name
        raise RecipeError(
            f"'{name}' is taken: there is a module '{taken}' already.",
            where="NAME",
            hint=f"choose another name, such as {name}-2",
        )
    return package


def _templates(folder: Traversable, path: str) -> list[tuple[str, str]]:
    """The relative path (with names to fill in) and text of every template below a folder."""
    found: list[tuple[str, str]] = []
    for item in sorted(folder.iterdir(), key=lambda item: item.name):
        name = item.name.removesuffix(SUFFIX)
        place = f"{path}/{_PATHS.get(name, name)}".lstrip("/")
        if item.is_dir():
            found += _templates(item, place)
        elif item.name.endswith(SUFFIX):
            found.append((place, item.read_text(encoding="utf-8")))
    return found


def _next_minor(version: str) -> str:
    major, minor, *_ = version.split(".")
    return f"{major}.{int(minor) + 1}"
