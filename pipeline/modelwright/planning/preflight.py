"""Finds the models that a preflight is asked about and reads their anatomy; weights need not be there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from modelwright.api.anatomy import Anatomy
from modelwright.api.target import Target
from modelwright.errors import MissingError, RecipeError
from modelwright.planning.device_map import CPU, Device
from modelwright.planning.devices import found_devices, gpus_of
from modelwright.planning.source import find_format, local_folder
from modelwright.planning.weight_schemes import ALIASES
from modelwright.recipe.compose import compose_recipe
from modelwright.recipe.groups import compose_groups, validated
from modelwright.recipe.origin import Origin
from modelwright.recipe.schema import ModelSource
from modelwright.registry import Registry

ACCEPTED = "a Hugging Face folder: config.json, with or without safetensors"


class Subject(NamedTuple):
    """A model to estimate: what it is called, where it lies, and what it is built of."""

    name: str
    path: Path
    anatomy: Anatomy


class Selection(NamedTuple):
    """What overrides such as `model=local model.path=./x target=cpu` choose; None for what they do not."""

    source: ModelSource | None
    target: Target | None
    origin: Origin

    @property
    def dtype(self) -> str | None:
        """The dtype that the model is to be loaded in, as `SCHEMES` names it."""
        return ALIASES.get(self.source.dtype or "") if self.source else None


def select(registry: Registry, source: str | None, overrides: Sequence[str]) -> Selection:
    """The model and the target of a recipe (by name or path), or of the config groups alone.

    Raises RecipeError for what does not compose, and for a model without a path.
    """
    if source is not None or any(text.startswith("recipe=") for text in overrides):
        config, origin = compose_recipe(registry, source, overrides)
    else:
        config, origin = compose_groups(registry, overrides, ("model", "target"))
    model = config.get("model")
    if isinstance(model, dict) and model.get("path") in (None, "???"):
        raise RecipeError(
            "'model.path' has no value and no default.",
            where=origin.of("model.path"),
            hint="set it: model.path=…",
        )
    target = config.get("target")
    return Selection(
        validated(ModelSource, model, "model", origin) if model is not None else None,
        validated(Target, target, "target", origin) if target is not None else None,
        origin,
    )


def read_folder(registry: Registry, text: str) -> Subject:
    """The model of a folder given as it is. Raises RecipeError when it is none."""
    path = Path(text).expanduser()
    if path.is_file() and path.name == "config.json":
        path = path.parent
    if not path.is_dir():
        raise RecipeError(
            f"There is no model folder at '{text}'.",
            where=str(path),
            accepted="a folder with a config.json; weights need not be there",
        )
    return Subject(path.absolute().name, path, _anatomy(registry, path, None, str(path)))


def read_source(registry: Registry, source: ModelSource, origin: Origin) -> Subject:
    """The model that a recipe's `model` names. Raises RecipeError, also for one that is only on the hub."""
    where = origin.of("model.path")
    path = local_folder(source.path, where)
    if path is None:
        raise RecipeError(
            f"'{source.path}' is no folder here, and a preflight downloads nothing.",
            where=where,
            hint="its config.json alone, in a folder of its own, is enough to estimate it",
        )
    return Subject(path.name, path, _anatomy(registry, path, source.format, origin.of("model.format")))


def devices_for(target: Target | None) -> dict[Device, int]:
    """The devices of this machine that a target uses; all of them where none is chosen.

    Raises MissingError when the target is a GPU and there is none.
    """
    devices = found_devices()
    if target is None:
        return devices
    if target.device == "cpu":
        return {CPU: devices[CPU]}
    if not gpus_of(devices):
        raise MissingError(
            "The target asks for a CUDA device, and nvidia-smi shows none here.",
            where="target.device",
            hint="say what the machine it is for has: --device gpu0=24GiB --device cpu=64GiB",
        )
    return devices


def _anatomy(registry: Registry, path: Path, format_name: str | None, where: str) -> Anatomy:
    format_ = find_format(registry, path, format_name, where, ACCEPTED)
    found = format_.anatomy(path)
    if found is None:
        raise RecipeError(
            f"The format '{format_.name}' does not say what its models are built of.",
            where=str(path),
            accepted=ACCEPTED,
        )
    return found
