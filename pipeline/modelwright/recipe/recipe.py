"""A recipe with every name looked up: what the plan is made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from modelwright.api.component import Component
from modelwright.api.dataset import Dataset
from modelwright.api.metric import Metric
from modelwright.api.publisher import Publisher
from modelwright.api.stage import Stage
from modelwright.errors import RecipeError, did_you_mean
from modelwright.recipe.compose import compose_recipe
from modelwright.recipe.origin import Origin
from modelwright.recipe.refusal import refusal
from modelwright.recipe.schema import Gate, RecipeText
from modelwright.registry import Catalog, Registry

C = TypeVar("C", bound=Component)


@dataclass(frozen=True)
class RecipeOutline:
    """A recipe as written, its keys checked and its names not looked up, and where its keys come from."""

    text: RecipeText
    origin: Origin


@dataclass(frozen=True)
class Recipe(RecipeOutline):
    """A validated recipe: `text` as written, and the components its names stand for, in order."""

    stages: Mapping[str, Stage]
    datasets: Mapping[str, Dataset]
    metrics: Mapping[str, Metric]
    gates: Mapping[str, Gate]
    publisher: Publisher

    @property
    def name(self) -> str:
        """The artifact's name."""
        return self.text.name

    def resolved(self) -> dict[str, Any]:
        """The recipe as plain data with every default filled in; composing it again gives the same run."""
        return {
            "name": self.text.name,
            "description": self.text.description,
            "seed": self.text.seed,
            "model": self.text.model.model_dump(mode="json"),
            "target": self.text.target.model_dump(mode="json"),
            "data": {key: _written(item) for key, item in self.datasets.items()},
            "stages": {key: _written(item) for key, item in self.stages.items()},
            "validate": {
                "allow_unmeasured": self.text.validate_.allow_unmeasured,
                "metrics": {key: item.model_dump(mode="json") for key, item in self.metrics.items()},
                "gates": {key: _gate_text(gate) for key, gate in self.gates.items()},
            },
            "publish": _written(self.publisher),
        }

    def to_yaml(self) -> str:
        """`resolved` as YAML."""
        return yaml.safe_dump(self.resolved(), sort_keys=False, allow_unicode=True)


def load_recipe(registry: Registry, source: str | Path | None, overrides: Sequence[str] = ()) -> Recipe:
    """Compose and validate a recipe. Raises RecipeError, or MissingError for a package that is not there."""
    composed = compose_recipe(registry, source, overrides)
    return resolve(registry, composed.config, composed.origin)


def resolve(registry: Registry, config: Mapping[str, Any], origin: Origin) -> Recipe:
    """Validate plain data as a recipe and look up every name in it."""
    written = outline(config, origin)
    text = written.text
    datasets = {key: dataset_of(registry, written, key) for key in text.data}
    stages = {
        key: _build(registry.stages, f"stages.{key}", item.use, item.parameters, origin)
        for key, item in _ordered(text, origin)
    }
    metrics = {key: metric_of(registry, written, key) for key in text.validate_.metrics}
    publisher = _build(registry.publishers, "publish", text.publish.use, text.publish.parameters, origin)
    recipe = Recipe(text, origin, stages, datasets, metrics, text.validate_.gates, publisher)
    _check_gates(recipe)
    for kind, components in (("stages", stages), ("validate.metrics", metrics)):
        for key, component in components.items():
            _check_data(recipe, f"{kind}.{key}", component)
    return recipe


def outline(config: Mapping[str, Any], origin: Origin) -> RecipeOutline:
    """Validate the keys of plain data as a recipe's; no name is looked up. Raises RecipeError."""
    try:
        return RecipeOutline(RecipeText.model_validate(config), origin)
    except ValidationError as error:
        raise _nested_refusal(error, origin) from error


def dataset_of(registry: Registry, recipe: RecipeOutline, name: str) -> Dataset:
    """One data set of a recipe. Raises RecipeError when there is none, or its parameters are wrong."""
    if name not in recipe.text.data:
        raise _no_dataset(recipe, f"data.{name}", name)
    used = recipe.text.data[name]
    return _build(registry.datasets, f"data.{name}", used.use, used.parameters, recipe.origin)


def metric_of(registry: Registry, recipe: RecipeOutline, name: str) -> Metric:
    """One metric of a recipe. Raises RecipeError when it is not registered, or its parameters are wrong."""
    parameters = recipe.text.validate_.metrics[name]
    return _build(registry.metrics, f"validate.metrics.{name}", name, parameters, recipe.origin)


def _build(catalog: Catalog[C], path: str, name: str, parameters: Mapping[str, Any], origin: Origin) -> C:
    cls = catalog.find(name, origin.of(f"{path}.use" if catalog.kind != "metric" else path))
    try:
        return cls.model_validate(parameters)
    except ValidationError as error:
        raise refusal(error, path, cls, origin) from error


def _nested_refusal(error: ValidationError, origin: Origin) -> RecipeError:
    """A typo that made a new entry (a step, a data set, without `use`) is told as the typo it is."""
    for item in error.errors():
        location = [str(part) for part in item["loc"]]
        if item["type"] == "missing" and len(location) == 3 and location[2] == "use":
            return RecipeError(
                f"'{location[1]}' in {location[0]} says no 'use'.",
                where=origin.of(".".join(location[:2])),
                accepted=f"{location[0]}.{location[1]}: {{use: NAME, …}}",
                hint=f"if you meant another entry of {location[0]}, check its spelling",
            )
    return refusal(error, "", RecipeText, origin)


def _ordered(text: RecipeText, origin: Origin) -> list[tuple[str, Any]]:
    """The steps in the order they run: as written, but for those that say `after`."""
    order = [key for key, step in text.stages.items() if step.after is None]
    waiting = {key: step.after for key, step in text.stages.items() if step.after is not None}
    for key, after in waiting.items():
        if after not in text.stages:
            raise RecipeError(
                f"There is no step '{after}' to follow.",
                where=origin.of(f"stages.{key}.after"),
                accepted=", ".join(name for name in text.stages if name != key),
                hint=did_you_mean(str(after), text.stages),
            )
    while waiting:
        ready = [key for key, after in waiting.items() if after in order]
        if not ready:
            raise RecipeError(
                f"The steps {', '.join(waiting)} follow each other in a circle.",
                where=origin.of(f"stages.{next(iter(waiting))}.after"),
            )
        for key in ready:
            order.insert(order.index(str(waiting.pop(key))) + 1, key)
    return [(key, text.stages[key]) for key in order]


def _check_gates(recipe: Recipe) -> None:
    for key, gate in recipe.gates.items():
        metric, _, figure = gate.metric.partition(".")
        where = recipe.origin.of(f"validate.gates.{key}.metric")
        if metric not in recipe.metrics:
            raise RecipeError(
                f"The gate '{key}' asks for {gate.metric}, and the recipe measures no '{metric}'.",
                where=where,
                accepted=", ".join(recipe.metrics) or "(no metric is configured)",
                hint=did_you_mean(metric, recipe.metrics) or f"add it under validate.metrics: {metric}: {{}}",
            )
        figures = recipe.metrics[metric].figures
        if figures and figure not in figures:
            raise RecipeError(
                f"The metric '{metric}' has no figure '{figure}'.",
                where=where,
                accepted=", ".join(f"{metric}.{name}" for name in figures),
                hint=did_you_mean(figure, figures),
            )
        if gate.data is not None and gate.data not in recipe.datasets:
            raise _no_dataset(recipe, f"validate.gates.{key}.data", gate.data)


def _check_data(recipe: Recipe, path: str, component: Component) -> None:
    for name in component.data_names():
        if name not in recipe.datasets:
            raise _no_dataset(recipe, f"{path}.data", name)


def _no_dataset(recipe: RecipeOutline, path: str, name: str) -> RecipeError:
    return RecipeError(
        f"The recipe has no data set '{name}'.",
        where=recipe.origin.of(path),
        accepted=", ".join(recipe.text.data) or "(the recipe has no data)",
        hint=did_you_mean(name, recipe.text.data) or f"add it: data.{name}={{use: jsonl, path: …}}",
    )


def _written(component: Component) -> dict[str, Any]:
    return {"use": component.name, **component.model_dump(mode="json")}


def _gate_text(gate: Gate) -> dict[str, Any]:
    written = gate.model_dump(mode="json", exclude_defaults=True)
    changes = {key: str(value) for key in ("drop_at_most", "rise_at_most") if (value := getattr(gate, key))}
    return {**written, **changes}
