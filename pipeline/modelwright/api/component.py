"""The base of everything a plugin registers: a name, what it needs, and a strict schema of its own."""

from __future__ import annotations

from importlib import metadata
from typing import Any, ClassVar

from packaging.requirements import Requirement
from pydantic import BaseModel, ConfigDict


class Component(BaseModel):
    """A registered thing that a recipe refers to by name; the class is the schema of its parameters.

    Parameters are pydantic fields; unknown keys, infinity and NaN are refused, instances immutable.
    Subclasses name themselves in the class statement::

        class Retrieval(Metric, name="retrieval", requires=("onnxruntime",)): ...

    `name` is how recipes refer to it. `requires` are the distributions it imports when it runs, as
    requirement strings; the plan refuses with exit 4 when one is missing, and their versions enter the key
    of a step. Importing the module that defines a component must not import any of them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)

    name: ClassVar[str] = ""
    requires: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(
        cls, *, name: str | None = None, requires: tuple[str, ...] | None = None, **kwargs: Any
    ) -> None:
        super().__init_subclass__(**kwargs)
        if name is not None:
            cls.name = name
        if requires is not None:
            cls.requires = requires

    @classmethod
    def missing(cls) -> list[str]:
        """The entries of `requires` that this environment does not satisfy."""
        return [text for text in cls.requires if not _satisfied(Requirement(text))]

    @classmethod
    def versions(cls) -> dict[str, str]:
        """The installed version of each distribution in `requires`."""
        names = [Requirement(text).name for text in cls.requires]
        return {name: found for name in names if (found := installed_version(name)) is not None}

    def data_names(self) -> tuple[str, ...]:
        """The data sets of the recipe that fields named `data`, or ending in `_data`, refer to."""
        fields = [key for key in type(self).model_fields if key == "data" or key.endswith("_data")]
        return tuple(name for key in fields if isinstance(name := getattr(self, key), str))

    def changed(self, *fields: str) -> list[str]:
        """Those of some fields whose value is not the default, to refuse what would have no effect.

        By value, since a resolved recipe writes every default out.
        """
        return [key for key in fields if getattr(self, key) != type(self).model_fields[key].default]

    def reference(self) -> dict[str, Any]:
        """Plain data that `Catalog.restore` makes this component of again, in another process."""
        return {"use": self.name, "parameters": self.model_dump(mode="json")}

    @classmethod
    def summary(cls) -> str:
        """The first sentence of the docstring."""
        return (cls.__doc__ or "").strip().partition("\n")[0]


# Distributions that provide the same module: either satisfies a requirement on the first.
ALTERNATIVES = {"onnxruntime": ("onnxruntime-gpu",), "tensorrt": ("tensorrt-rtx",)}


def installed_version(distribution: str) -> str | None:
    """The version of a distribution, or of one that provides the same module; None when there is none."""
    for name in (distribution, *ALTERNATIVES.get(distribution, ())):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def _satisfied(requirement: Requirement) -> bool:
    version = installed_version(requirement.name)
    return version is not None and requirement.specifier.contains(version, prereleases=True)
