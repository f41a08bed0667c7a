"""Composes a recipe with Hydra: the YAML of plugins, a user's own file, overrides."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from modelwright.errors import RecipeError, did_you_mean
from modelwright.recipe.composition_errors import explain, no_option, yaml_error
from modelwright.recipe.config_groups import GROUPS, available, config_folder, locations
from modelwright.recipe.origin import Origin
from modelwright.recipe.schema import RECIPE_KEYS
from modelwright.registry import Registry

CONFIG_MODULE = "modelwright_conf"
ROOT_CONFIG = "modelwright"


class Composed(NamedTuple):
    """A recipe as plain data, and where its keys come from."""

    config: dict[str, Any]
    origin: Origin


def compose_recipe(registry: Registry, source: str | Path | None, overrides: Sequence[str]) -> Composed:
    """Compose a shipped recipe (by name), a user's file (by path), or `recipe=NAME` among the overrides.

    Raises RecipeError for a recipe, group option or key that does not exist, for YAML that does not parse,
    and for a defaults list that has no end.
    """
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    folder, name, given = _primary(registry, source, overrides)
    if name != ROOT_CONFIG:
        _check_file(folder / f"{name}.yaml")
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(config_dir=str(folder), version_base=None):
            composed = compose(
                config_name=name,
                overrides=[search_path_override(registry), *map(open_override, given)],
                return_hydra_config=True,
            )
            choices = dict(composed.hydra.runtime.choices)
            OmegaConf.set_readonly(composed, False)
            OmegaConf.set_struct(composed, False)
            del composed["hydra"]
            config = OmegaConf.to_container(composed, resolve=True, throw_on_missing=False)
    except (HydraException, OmegaConfBaseException, yaml.YAMLError, ValueError) as error:
        raise explain(error, registry, given, folder / f"{name}.yaml") from error
    except RecursionError as error:
        raise RecipeError(
            "The defaults lists refer to each other in a circle.",
            where=str(folder / f"{name}.yaml"),
            hint="remove the entry that leads back",
        ) from error
    if not isinstance(config, dict):
        raise RecipeError("The recipe is not a mapping.", where=str(folder / f"{name}.yaml"))
    origin = Origin(given, _files(registry, folder / f"{name}.yaml", choices))
    _check_mandatory(config, "", origin)
    return Composed({str(key): value for key, value in config.items()}, origin)


def search_path_override(registry: Registry) -> str:
    """The Hydra override that adds every plugin's YAML to the search path."""
    return f"hydra.searchpath=[{','.join(locations(registry))}]"


def open_override(text: str) -> str:
    """An override as Hydra takes it: no key of a recipe needs a `+`, written in its YAML or not.

    The recipe's own schema refuses a typo with better words than Hydra's. `model=NAME` and its like stay
    choices of a config group.
    """
    key, equals, _ = text.partition("=")
    opened = equals and key not in GROUPS and key.partition(".")[0] in RECIPE_KEYS
    return f"++{text}" if opened else text


def primary_config(
    registry: Registry, source: str | Path | None, overrides: Sequence[str]
) -> tuple[Path, str]:
    """The folder and name of the config that a recipe starts from."""
    folder, name, _ = _primary(registry, source, overrides)
    return folder, name


def _primary(
    registry: Registry, source: str | Path | None, overrides: Sequence[str]
) -> tuple[Path, str, list[str]]:
    named = [text.partition("=")[2] for text in overrides if text.startswith("recipe=")]
    recipes = available(registry, "recipe")
    if source is not None and named:
        raise RecipeError(
            f"Both a recipe file ('{source}') and recipe={named[0]} are given.", hint="give one of them"
        )
    root = config_folder(f"pkg://{CONFIG_MODULE}")
    assert root is not None  # ships in this distribution
    if source is None and not named:
        raise RecipeError(
            "No recipe is given.",
            accepted="recipe=NAME with NAME one of " + ", ".join(recipes) + "; or the path of a YAML file",
        )
    if source is None or str(source) in recipes:
        own = [] if source is None else [f"recipe={source}"]
        for name in named:
            if not set("*?,{[$") & set(name) and name not in recipes:  # a sweep or glob is Hydra's to read
                raise no_option("recipe", name, recipes)
        return root, ROOT_CONFIG, [*own, *overrides]
    path = Path(source).absolute()
    if path.suffix != ".yaml":
        if "/" not in str(source) and not path.exists():
            raise no_option("recipe", str(source), recipes)
        raise RecipeError(
            f"'{source}' is not a recipe file.", where=str(path), accepted="a file whose name ends in .yaml"
        )
    return path.parent, path.stem, list(overrides)


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise RecipeError("The recipe is a folder.", where=str(path), accepted="a YAML file")
    if not path.is_file():
        near = did_you_mean(path.name, [file.name for file in path.parent.glob("*.yaml")])
        raise RecipeError("There is no such recipe file.", where=str(path), hint=near)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise RecipeError("The recipe is not UTF-8 text.", where=str(path)) from error
    except yaml.YAMLError as error:
        raise yaml_error(error, path) from error
    except (
        ValueError,
        RecursionError,
    ) as error:
        raise RecipeError(
            "The recipe holds a number too long or a list too deep to read.", where=str(path)
        ) from error
    if content is None:
        raise RecipeError(
            "The recipe is empty.",
            where=str(path),
            accepted="at least name, model and stages",
            hint="modelwright recipes shows the ones that ship; start from a copy",
        )
    if not isinstance(content, dict):
        raise RecipeError(
            f"The recipe is a {type(content).__name__}, not a mapping.",
            where=str(path),
            accepted="key: value",
        )


def _files(registry: Registry, primary: Path, choices: dict[str, Any]) -> dict[Path, str]:
    files = {primary: ""}
    for group, choice in choices.items():
        name = str(group).partition("@")[0].strip("/")
        if name in GROUPS and isinstance(choice, str):
            option = available(registry, name).get(choice)
            if option:
                files[option] = "" if name == "recipe" else name
    return files


def _check_mandatory(node: Any, path: str, origin: Origin) -> None:
    if isinstance(node, dict):
        for key, value in node.items():
            _check_mandatory(value, f"{path}.{key}" if path else str(key), origin)
    elif node == "???":
        raise RecipeError(
            f"'{path}' has no value and no default.", where=origin.of(path), hint=f"set it: {path}=…"
        )
