"""What is registered, by kind and name; loaded from entry points once, then frozen."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from typing import Any, Generic, TypeVar, cast

import pluggy
from packaging.requirements import Requirement

from modelwright import hookspecs
from modelwright.api.component import Component
from modelwright.api.dataset import Dataset
from modelwright.api.format import Format
from modelwright.api.metric import Metric
from modelwright.api.publisher import Publisher
from modelwright.api.stage import Stage
from modelwright.errors import MissingError, RecipeError, did_you_mean

ENTRY_POINT_GROUP = "modelwright"

C = TypeVar("C", bound=Component)


class Distribution:
    """The installed package that a component came from."""

    def __init__(self, found: metadata.Distribution) -> None:
        self.name = str(found.metadata["Name"])
        self.version = found.version
        self._extras = found.metadata.get_all("Provides-Extra") or []
        self._requires = [Requirement(text) for text in found.requires or ()]

    def extra_for(self, requirement: str) -> str | None:
        """The first extra that installs a requirement, or None when none does."""
        wanted = Requirement(requirement).name
        markers = [found.marker for found in self._requires if found.name == wanted and found.marker]
        for extra in self._extras:
            if any(marker.evaluate({"extra": extra}) for marker in markers):
                return str(extra)
        return None


class Catalog(Mapping[str, type[C]], Generic[C]):
    """The components of one kind by name, with the distribution each came from."""

    def __init__(self, kind: str, base: type[Component]) -> None:
        self.kind = kind
        self._base = base
        self._frozen = False
        self._classes: dict[str, type[C]] = {}
        self._distributions: dict[str, Distribution] = {}

    def add(self, cls: object, distribution: Distribution) -> None:
        """Register a class.

        Raises RecipeError when it is none of this kind, has no name, or has one that is taken, naming both
        distributions; TypeError once the catalog is frozen.
        """
        if self._frozen:
            raise TypeError(f"the catalog of {self.kind}s is frozen; a plugin adds to it in its hook")
        if not (isinstance(cls, type) and issubclass(cls, self._base)):
            raise RecipeError(
                f"The plugin registers {cls!r}, which is no {self.kind}.",
                where=f"plugin '{distribution.name}'",
                accepted=f"classes that derive from {self._base.__name__}",
            )
        if inspect.isabstract(cls):
            lacking = ", ".join(sorted(cls.__abstractmethods__))
            raise RecipeError(
                f"The {self.kind} {cls.__qualname__} is abstract: it lacks {lacking}.",
                where=f"plugin '{distribution.name}'",
            )
        if not cls.name:
            raise RecipeError(
                f"The {self.kind} {cls.__qualname__} has no name.",
                where=f"plugin '{distribution.name}'",
                accepted=f'class {cls.__qualname__}({self._base.__name__}, name="…")',
            )
        if cls.name in self._classes:
            raise RecipeError(
                f"Two plugins register the {self.kind} '{cls.name}'.",
                where=f"'{self._distributions[cls.name].name}' and '{distribution.name}'",
                hint="uninstall one of them or rename its component",
            )
        self._classes[cls.name] = cast(type[C], cls)
        self._distributions[cls.name] = distribution

    def freeze(self) -> None:
        """Take no more classes."""
        self._frozen = True

    def __getitem__(self, name: str) -> type[C]:
        return self._classes[name]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._classes))

    def __len__(self) -> int:
        return len(self._classes)

    def distribution(self, name: str) -> Distribution:
        """The distribution that registered `name`."""
        return self._distributions[name]

    def find(self, name: str, where: str) -> type[C]:
        """The class registered as `name`. Raises RecipeError with a suggestion when there is none."""
        if name not in self._classes:
            raise RecipeError(
                f"There is no {self.kind} '{name}'.",
                where=where,
                accepted=", ".join(self) or f"(no {self.kind} is registered)",
                hint=did_you_mean(name, self) or "install the plugin that provides it",
            )
        return self._classes[name]

    def restore(self, reference: Mapping[str, Any]) -> C:
        """The component that `Component.reference` described."""
        return self[reference["use"]].model_validate(reference["parameters"])

    def require(self, name: str, where: str) -> None:
        """Raise MissingError naming the extra to install when a distribution `name` needs is not there."""
        missing = self[name].missing()
        if not missing:
            return
        distribution = self.distribution(name)
        extras = {distribution.extra_for(text) for text in missing} - {None}
        command = (
            f"pip install '{distribution.name}[{','.join(sorted(filter(None, extras)))}]'"
            if extras
            else "pip install " + " ".join(f"'{text}'" for text in missing)
        )
        raise MissingError(
            f"The {self.kind} '{name}' needs {', '.join(missing)}, which is not installed.",
            where=where,
            hint=command,
        )


class Registry:
    """Everything the plugins registered.

    >>> registry = Registry.load()
    >>> registry.stages["quantize.onnx_dynamic"]
    """

    def __init__(self) -> None:
        self.stages: Catalog[Stage] = Catalog("stage", Stage)
        self.formats: Catalog[Format] = Catalog("format", Format)
        self.metrics: Catalog[Metric] = Catalog("metric", Metric)
        self.datasets: Catalog[Dataset] = Catalog("dataset", Dataset)
        self.publishers: Catalog[Publisher] = Catalog("publisher", Publisher)
        self.config_folders: tuple[str, ...] = ()
        self.distributions: tuple[Distribution, ...] = ()

    @classmethod
    def load(cls) -> Registry:
        """Load every entry point of the group `modelwright`.

        Raises RecipeError when a plugin does not load or a hook of it fails (naming its distribution and
        the cause), implements a hook that does not exist, or registers a name twice.
        """
        manager = pluggy.PluginManager(hookspecs.PROJECT)
        manager.add_hookspecs(hookspecs)
        registry = cls()
        for distribution, plugin in _load_entry_points(manager):
            registry._collect(manager, plugin, distribution)
        for catalog in registry._hooks.values():
            catalog.freeze()
        return registry

    @property
    def _hooks(self) -> dict[str, Catalog[Any]]:
        """The catalog that each hook fills."""
        return {
            "modelwright_stages": self.stages,
            "modelwright_formats": self.formats,
            "modelwright_metrics": self.metrics,
            "modelwright_datasets": self.datasets,
            "modelwright_publishers": self.publishers,
        }

    def _collect(self, manager: pluggy.PluginManager, plugin: object, distribution: Distribution) -> None:
        self.distributions += (distribution,)
        others = [other for other in manager.get_plugins() if other is not plugin]

        def yielded(name: str) -> list[object]:
            hook = manager.subset_hook_caller(name, remove_plugins=others)
            return _yielded(hook, name, distribution)

        for name, catalog in self._hooks.items():
            for component in yielded(name):
                catalog.add(component, distribution)
        self.config_folders += tuple(map(str, yielded("modelwright_config")))


def _yielded(hook: pluggy.HookCaller, name: str, distribution: Distribution) -> list[object]:
    """All that a plugin's hook yields; its code runs here, not when the hook is called."""
    try:
        iterables: list[Iterable[object]] = hook()
        return [item for iterable in iterables for item in iterable]
    except Exception as error:  # whatever a plugin's hook raises is that plugin's failure
        raise RecipeError(
            f"The hook {name} fails: {type(error).__name__}: {error}",
            where=f"distribution '{distribution.name}' {distribution.version}",
            hint=f"fix it, or remove it: pip uninstall {distribution.name}",
        ) from error


def _load_entry_points(manager: pluggy.PluginManager) -> list[tuple[Distribution, object]]:
    loaded: list[tuple[Distribution, object]] = []
    seen: set[tuple[str, str]] = set()
    for found in metadata.distributions():
        for entry in found.entry_points.select(group=ENTRY_POINT_GROUP):
            if (entry.name, entry.value) in seen:  # one distribution on sys.path twice (editable installs)
                continue
            seen.add((entry.name, entry.value))
            name = found.metadata["Name"]
            try:
                plugin = entry.load()
                manager.register(plugin, name=f"{name}:{entry.name}")
                manager.check_pending()
            except Exception as error:  # whatever a plugin's import raises is that plugin's failure
                raise RecipeError(
                    f"The plugin '{entry.name}' does not load: {type(error).__name__}: {error}",
                    where=f"distribution '{name}' {found.version}, entry point {entry.value}",
                    hint=f"fix it, or remove it: pip uninstall {name}",
                ) from error
            loaded.append((Distribution(found), plugin))
    return loaded
