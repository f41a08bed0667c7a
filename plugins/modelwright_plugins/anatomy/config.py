"""Figures of a Hugging Face config.json, refused unless they can be figures of a model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelwright.errors import RecipeError

REQUIRED = -1
# Past this a figure is a typing error, and arithmetic on it would only hide that.
LARGEST = 10**9
MOST_LAYERS = 10_000


class Config:
    """Reads one config.json by key; several keys are names that families use for the same figure.

    >>> Config({"n_embd": 768}, Path("config.json")).count("n_embd", "hidden_size")
    768

    Every method raises RecipeError, naming the file and the key, for a value that is none of its kind.
    """

    def __init__(self, values: Mapping[str, Any], file: Path) -> None:
        self.values = values
        self.file = file

    def where(self, key: str) -> str:
        """A key of the file, for an error."""
        return f"{self.file}, key {key}"

    def has(self, *keys: str) -> bool:
        """Whether one of the keys has a value."""
        return any(self.values.get(key) is not None for key in keys)

    def layers(self, *keys: str) -> int:
        """How many layers; every one of them is written down, so that their number has a limit."""
        return self.count(*keys, most=MOST_LAYERS)

    def count(self, *keys: str, default: int = REQUIRED, least: int = 1, most: int = LARGEST) -> int:
        """A whole number from `least` to `most`; `default` where no key has a value."""
        key = next((key for key in keys if self.values.get(key) is not None), None)
        if key is None:
            if default == REQUIRED:
                raise RecipeError(
                    f"config.json says no {keys[0]}.",
                    where=self.where(keys[0]),
                    accepted=" or ".join(keys) + f", a whole number of at least {least}",
                )
            return default
        value = self.values[key]
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise RecipeError(
                f"config.json gives {key} as {value!r}.",
                where=self.where(key),
                accepted=f"a whole number from {least} to {most:,}",
            )
        return value

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self.values.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise RecipeError(
                f"config.json gives {key} as {value!r}.", where=self.where(key), accepted="true or false"
            )
        return value

    def share(self, key: str, default: float) -> float:
        """A number above 0 and at most 1."""
        value = self.values.get(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
            raise RecipeError(
                f"config.json gives {key} as {value!r}.",
                where=self.where(key),
                accepted="a number above 0, at most 1",
            )
        return float(value)

    def words(self, key: str) -> tuple[str, ...]:
        """A list of strings; empty where there is none."""
        value = self.values.get(key) or []
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise RecipeError(
                f"config.json gives {key} as {value!r}.", where=self.where(key), accepted="a list of strings"
            )
        return tuple(value)

    def numbers(self, key: str) -> tuple[int, ...]:
        """A list of whole numbers of at least 0; empty where there is none."""
        value = self.values.get(key) or []
        if not isinstance(value, list) or not all(
            isinstance(item, int) and not isinstance(item, bool) and item >= 0 for item in value
        ):
            raise RecipeError(
                f"config.json gives {key} as {value!r}.",
                where=self.where(key),
                accepted="a list of whole numbers",
            )
        return tuple(value)

    def within(self, key: str) -> Config:
        """The object under a key; an empty one where there is none."""
        value = self.values.get(key)
        if value is None:
            return Config({}, self.file)
        if not isinstance(value, dict):
            raise RecipeError(
                f"config.json gives {key} as {value!r}.", where=self.where(key), accepted="an object"
            )
        return Config(value, self.file)

    def architecture(self) -> str:
        """The first of `architectures`, or the empty string."""
        return next(iter(self.words("architectures")), "")

    def dtype(self) -> str:
        """The dtype that loads by default: `dtype`, or `torch_dtype` as it was called before; float32."""
        value = self.values.get("dtype") or self.values.get("torch_dtype") or "float32"
        return value if isinstance(value, str) else "float32"
