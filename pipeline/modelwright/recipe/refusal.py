"""Turns a pydantic refusal into one error a recipe's author can act on."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel, ValidationError

from modelwright.errors import RecipeError, did_you_mean
from modelwright.recipe.origin import Origin


def refusal(error: ValidationError, prefix: str, schema: type[BaseModel], origin: Origin) -> RecipeError:
    """The RecipeError for the first thing `schema` refused, an unknown key before anything else.

    `prefix` is the key under which the validated mapping stands in the recipe.
    """
    errors = sorted(error.errors(), key=lambda item: item["type"] != "extra_forbidden")
    first = errors[0]
    path = ".".join([prefix, *map(str, first["loc"])]).strip(".")
    parent = path.rpartition(".")[0] or "the recipe"
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    if first["type"] == "extra_forbidden":
        key = str(first["loc"][-1])
        options = _keys(schema, first["loc"][:-1])
        return RecipeError(
            f"'{key}' is not a key of {parent}{more}.",
            where=origin.of(path),
            accepted=", ".join(options) or "no keys",
            hint=did_you_mean(key, options),
        )
    if first["type"] == "missing" and isinstance(first["loc"][-1], int):
        return RecipeError(
            f"{parent} cannot be {_plain(first['input'])}: it has too few entries{more}.",
            where=origin.of(parent),
        )
    if first["type"] == "missing":
        options = _keys(schema, first["loc"][:-1])
        return RecipeError(
            f"{parent} lacks '{first['loc'][-1]}'{more}.",
            where=origin.of(parent),
            accepted=", ".join(options),
        )
    if first["loc"][-1:] == ("[key]",):
        *above, name, _ = first["loc"]
        place = ".".join([prefix, *map(str, above)]).strip(".")
        return _refused_name(str(name), place, first["type"], first["msg"], origin)
    if first["input"] is None and first["type"] in ("model_type", "dict_type"):
        return RecipeError(
            f"{path} has no value{more}.",
            where=origin.of(path),
            accepted=f"a mapping, such as {path.rpartition('.')[2]}: {{…}}",
            hint=f"write its value, or remove it: ~{path}",
        )
    message = str(first["msg"]).removeprefix("Value error, ").replace("a valid tuple", "a list")
    # Of several keys that do not fit together the message names those at fault.
    several = isinstance(first["input"], dict) and first["input"]
    if not message[1:2].isupper():  # an ordinary word, and no name
        message = f"{message[:1].lower()}{message[1:]}"
    refused = f"{path} is refused" if several else f"{path} cannot be {_plain(first['input'])}"
    quote = first["type"] == "string_type" and isinstance(first["input"], int | float)
    return RecipeError(
        f"{refused}: {message}{more}.",
        where=origin.of_mapping(path) if several else origin.of(path),
        hint=f"quote it: '{first['input']}'" if quote else None,
    )


def _plain(value: object) -> str:
    """A value as a recipe writes it: what was read as a tuple was a list there."""
    return repr(list(value) if isinstance(value, tuple) else value)


def _refused_name(name: str, place: str, kind: str, message: str, origin: Origin) -> RecipeError:
    """The RecipeError for a name in the mapping that stands at `place`."""
    if kind == "string_type":
        return RecipeError(
            f"{name} cannot be a name: it is no text.", where=origin.of(place), hint=f"quote it: '{name}'"
        )
    parent = place.rpartition(".")[2]
    what = {"stages": "a step", "data": "a data set", "gates": "a gate"}.get(parent, "an entry")
    pattern = kind == "string_pattern_mismatch"
    reason = "" if pattern else f": {message.removeprefix('Value error, ')}"
    return RecipeError(
        f"'{name}' cannot be the name of {what}{reason}.",
        where=origin.of(f"{place}.{name}"),
        accepted="letters, digits, dots, dashes and underscores, a letter or digit first"
        if pattern
        else None,
        hint=None if pattern else "give it another name",
    )


def _keys(schema: type[BaseModel], location: Iterable[int | str]) -> list[str]:
    """The keys that the model at `location` below `schema` accepts."""
    model: type[BaseModel] | None = schema
    for part in location:
        field = _field(model, str(part)) if model else None
        model = field if field is not None else model
    return [field.alias or name for name, field in model.model_fields.items()] if model else []


def _field(model: type[BaseModel], name: str) -> type[BaseModel] | None:
    for key, field in model.model_fields.items():
        if name in (key, field.alias):
            nested = [field.annotation, *getattr(field.annotation, "__args__", ())]
            return next((cls for cls in nested if isinstance(cls, type) and issubclass(cls, BaseModel)), None)
    return None
