"""Checks of a recipe that need no weights: formats that join, tags, packages, data, metrics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from modelwright.api.dataset import Split
from modelwright.api.model import Model, ModelSpec
from modelwright.api.stage import ORIGINAL, Stage
from modelwright.errors import MissingError, RecipeError
from modelwright.recipe.recipe import Recipe
from modelwright.registry import Registry

# The metric that every step's result is measured by, where a recipe has it.
PARITY = "parity"


def check_joins(
    registry: Registry, recipe: Recipe, spec: ModelSpec, models: Mapping[str, Model]
) -> list[str]:
    """Each step takes what the one before gives, in format and tags, and its packages are there.

    `models` are those that stages read beside it, by name. Returns a note for each tag that a
    step does not preserve.
    """
    before = "the model"
    left: dict[str, str] = {}  # the step that took a model out of a format
    notes = []
    registry.formats.require(spec.format, recipe.origin.of("model.path"))
    run = {spec.format}
    for name, stage in recipe.stages.items():
        where = recipe.origin.of(f"stages.{name}.use")
        if stage.takes != spec.format:
            raise RecipeError(
                f"The step '{name}' ({stage.name}) takes {stage.takes}, and {before} gives {spec.format}.",
                where=where,
                accepted=f"a stage that takes {spec.format}: {_list(_taking(registry, spec))}",
                hint=_order(name, stage, left.get(stage.takes))
                or _bridge(registry, spec.format, stage.takes),
            )
        registry.formats.find(stage.gives, where)
        registry.stages.require(stage.name, where)
        if stage.measures or PARITY in recipe.metrics:  # which every step's result is run for
            run.add(stage.gives)
        if spec.task not in stage.tasks:
            raise RecipeError(
                f"The step '{name}' ({stage.name}) takes models of task {_list(stage.tasks)}; this one's is "
                f"{spec.task}.",
                where=where,
                accepted=f"a stage for task {spec.task}: {_list(_taking(registry, spec))}",
            )
        _check_tags(name, stage, set(spec.tags), where)
        named = {field: models[named] for field, named in stage.model_names().items()}
        with parameters_placed(recipe, name):
            stage.check(spec)
            stage.check_target(recipe.text.target)
            stage.check_models(spec, {ORIGINAL: models[ORIGINAL], **named})
        tags = stage.tags_after(spec.tags)
        notes += [
            f"The step '{name}' ({stage.name}) does not keep the model {tag}."
            for tag in spec.tags
            if tag not in tags
        ]
        if stage.gives != stage.takes:
            left[stage.takes] = name
        after = {"format": stage.gives, "tags": tags, "dtype": stage.dtype_after(spec.dtype)}
        spec, before = spec.model_copy(update=after), f"the step '{name}'"
    registry.formats.require(spec.format, recipe.origin.of("stages"))
    for name in sorted(run | {spec.format}):
        _check_format_target(registry, recipe, name)
    target = recipe.text.target
    if not target.runs:
        if registry.formats[spec.format]().runs_here(target):
            raise RecipeError(
                f"The target says that nothing runs here, and models of format {spec.format} do.",
                where=recipe.origin.of("target.runs"),
                accepted="true; false is for what is built for other machines, such as TensorRT's engines",
            )
        notes.append("Nothing runs here: only files are measured, and the other gates stay closed.")
    return notes


def _check_format_target(registry: Registry, recipe: Recipe, name: str) -> None:
    """Models of a format can run for the target; what is not installed is refused elsewhere."""
    if not recipe.text.target.runs or registry.formats[name].missing():
        return
    try:
        registry.formats[name]().check_target(recipe.text.target)
    except (RecipeError, MissingError) as error:
        error.where = recipe.origin.of(error.where or "target")
        raise


@contextmanager
def parameters_placed(recipe: Recipe, name: str) -> Iterator[None]:
    """Say of an error whose `where` is `parameter NAME` or `target.NAME` which key of the recipe that is."""
    try:
        yield
    except RecipeError as error:
        kind, _, field = (error.where or "").partition(" ")
        if kind == "parameter":
            error.where = recipe.origin.of(f"stages.{name}.{field}")
        elif kind.startswith("target."):
            error.where = recipe.origin.of(kind)
        raise


def check_data(registry: Registry, recipe: Recipe) -> None:
    """Every data set can be read here and has the columns that its users need."""
    for name, dataset in recipe.datasets.items():
        where = recipe.origin.of(f"data.{name}")
        registry.datasets.require(dataset.name, where)
        dataset.check()
    read: set[tuple[str, Split]] = set()
    for key, metric in recipe.metrics.items():
        for named in metric.data_names():
            missing = metric.columns - recipe.datasets[named].columns()
            if missing:
                raise RecipeError(
                    f"The metric '{key}' needs the columns {_list(sorted(metric.columns))}; the data set "
                    f"'{named}' lacks {_list(sorted(missing))}.",
                    where=recipe.origin.of(f"validate.metrics.{key}"),
                    hint=f"map them: data.{named}.{min(missing)}=NAME_OF_THE_COLUMN",
                )
            if (named, metric.split) not in read:  # an empty split is better found before the steps ran
                recipe.datasets[named].load(metric.split)
                read.add((named, metric.split))


def check_metrics(registry: Registry, recipe: Recipe, spec: ModelSpec) -> None:
    """Every metric serves the model's task, and its packages are there."""
    for key, metric in recipe.metrics.items():
        where = recipe.origin.of(f"validate.metrics.{key}")
        registry.metrics.require(metric.name, where)
        if spec.task not in metric.tasks:
            raise RecipeError(
                f"The metric '{key}' is for models of task {_list(metric.tasks)}; this one's is {spec.task}.",
                where=where,
                hint=f"remove it: ~validate.metrics.{key}, and the gates that use it",
            )
        metric.check(spec)


def _check_tags(name: str, stage: Stage, tags: set[str], where: str) -> None:
    lacking = [tag for tag in stage.needs if tag not in tags]
    refused = {tag: why for tag, why in stage.refuses.items() if tag in tags}
    if lacking:
        raise RecipeError(
            f"The step '{name}' ({stage.name}) needs a model that is {_list(lacking)}.",
            where=where,
            hint="put the step that makes it so before this one",
        )
    if refused:
        raise RecipeError(
            f"The step '{name}' ({stage.name}) cannot follow a step that makes the model {_list(refused)}"
            f"{''.join(f': {why}' for why in refused.values() if why)}.",
            where=where,
            hint="move it before that step, or remove one of the two",
        )


def _taking(registry: Registry, spec: ModelSpec) -> list[str]:
    return [
        name
        for name in registry.stages
        if registry.stages[name].takes == spec.format and spec.task in registry.stages[name].tasks
    ]


def _order(name: str, stage: Stage, left: str | None) -> str | None:
    """What to do about a format that the step `left` has left behind."""
    if left is None:
        return None
    if stage.gives == stage.takes:
        return f"put '{name}' before '{left}'"
    return f"remove '{name}', or '{left}' and what needs it"


def _bridge(registry: Registry, have: str, want: str) -> str | None:
    between = [
        name
        for name in registry.stages
        if registry.stages[name].takes == have and registry.stages[name].gives == want
    ]
    return f"put {' or '.join(between)} before it" if between else None


def _list(words: Iterable[str]) -> str:
    return ", ".join(words) or "(none)"
