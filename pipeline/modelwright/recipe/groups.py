"""Composes config groups (a model, a target) without a recipe around them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from modelwright.errors import RecipeError
from modelwright.recipe.compose import CONFIG_MODULE, search_path_override
from modelwright.recipe.composition_errors import explain
from modelwright.recipe.config_groups import available, config_folder
from modelwright.recipe.origin import Origin
from modelwright.recipe.refusal import refusal
from modelwright.registry import Registry

S = TypeVar("S", bound=BaseModel)


def compose_groups(
    registry: Registry, overrides: Sequence[str], groups: Sequence[str]
) -> tuple[dict[str, Any], Origin]:
    """The options that `model=local model.path=./x target=cpu` choose and change, as plain data.

    Raises RecipeError for a group or an option that does not exist, and for an override that does not
    parse.
    """
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    root = config_folder(f"pkg://{CONFIG_MODULE}")
    assert root is not None  # ships in this distribution
    given = [_opened(text, groups) for text in overrides]
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(config_dir=str(root), version_base=None):
            composed = compose(config_name=None, overrides=[search_path_override(registry), *given])
            config = OmegaConf.to_container(composed, resolve=True, throw_on_missing=False)
    except (HydraException, OmegaConfBaseException, yaml.YAMLError, ValueError) as error:
        raise explain(error, registry, overrides, root) from error
    assert isinstance(config, dict)  # groups are mappings
    files = {
        file: group
        for group in groups
        for text in overrides
        if text.startswith(f"{group}=") and (file := available(registry, group).get(text.partition("=")[2]))
    }
    return {str(key): value for key, value in config.items()}, Origin(overrides, files)


def validated(schema: type[S], values: Any, group: str, origin: Origin) -> S:
    """One group's data as its schema has it. Raises RecipeError for a wrong key or value."""
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        raise refusal(error, group, schema, origin) from error


def _opened(text: str, groups: Sequence[str]) -> str:
    """An override as Hydra takes it: options are added, keys are set whether they are there or not."""
    key, equals, value = text.lstrip("+").partition("=")
    if not equals or key.partition(".")[0] not in groups:
        raise RecipeError(
            f"'{text}' is neither a folder nor an override of {' or '.join(groups)}.",
            where="the command line",
            accepted=", ".join(f"{group}=NAME, {group}.KEY=VALUE" for group in groups),
        )
    return f"+{key}={value}" if key in groups else f"++{key}={value}"
