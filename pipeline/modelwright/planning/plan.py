"""What a run will do: steps that join up, what each needs, what the store already has."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace

from modelwright.api.model import Model, ModelSize
from modelwright.api.stage import ORIGINAL, Footprint, Stage
from modelwright.api.target import Target
from modelwright.digest import digest_folder
from modelwright.errors import MissingError, RecipeError
from modelwright.planning.checks import check_data, check_joins, check_metrics, parameters_placed
from modelwright.planning.gate_places import check_gate_places
from modelwright.planning.hardware import check_target
from modelwright.planning.key import step_key
from modelwright.planning.source import find_model, find_source
from modelwright.process.memory import total_memory
from modelwright.recipe.recipe import Recipe
from modelwright.registry import Registry
from modelwright.report.units import disk, memory
from modelwright.store.store import SealedStep
from modelwright.store.workspace import Workspace, existing


@dataclass(frozen=True)
class PlannedStep:
    """One step. `key` and `sealed` are None while they depend on a step that has yet to run."""

    name: str
    stage: Stage
    distribution: str
    footprint: Footprint
    key: str | None
    sealed: SealedStep | None


@dataclass(frozen=True)
class Plan:
    """A recipe that can run here: names, schemas, formats, packages, devices and data are all in order.

    `source` is the model that the first step takes. `baseline` is the same folder in its own dtype, which
    everything is compared with. `models` are those that stages read beside their input, by the name the
    recipe gives them; `original` is the baseline.
    """

    recipe: Recipe
    registry: Registry
    workspace: Workspace
    target: Target
    source: Model
    baseline: Model
    models: Mapping[str, Model]
    source_size: ModelSize
    data_digests: Mapping[str, str]
    steps: tuple[PlannedStep, ...]
    notes: tuple[str, ...] = ()

    @property
    def peak_memory(self) -> int:
        """The largest predicted memory of a step that has to run, in bytes."""
        return max((step.footprint.memory_bytes for step in self.steps if step.sealed is None), default=0)

    @property
    def disk(self) -> int:
        """Predicted bytes the steps that have to run will add to the store."""
        return sum(step.footprint.disk_bytes for step in self.steps if step.sealed is None)

    def unread(self) -> list[Model]:
        """The input, unless a step in the store has read it, and further models that steps will read."""
        steps = [step for step in self.steps if step.sealed is None]
        further = {name for step in steps for name in step.stage.model_names().values()} - {ORIGINAL}
        models = [self.source] if self.steps[0].sealed is None else []
        models += [self.models[name] for name in sorted(further)]
        return [*{model.path: model for model in models}.values()]

    def check_inputs_unchanged(self) -> None:
        """Raise RecipeError when the input model or the data are not those the plan was made from.

        Called after whatever read them, before its result is kept under their digests.
        """
        for path, digest in {model.path: model.digest for model in self.models.values()}.items():
            if digest_folder(path) != digest:
                raise _changed("model", path)
        for name, digest in self.data_digests.items():
            if self.recipe.datasets[name].digest() != digest:
                raise _changed(f"data set '{name}'", name)

    def key_of(self, stage: Stage, model_digest: str) -> str:
        """The key of a step whose input is known."""
        data = {name: self.data_digests[name] for name in stage.data_names()}
        models = {field: input_digest(self.models[name]) for field, name in stage.model_names().items()}
        distribution = self.registry.stages.distribution(stage.name)
        return step_key(stage, distribution, model_digest, data, models, self.target, self.recipe.text.seed)


def make_plan(registry: Registry, recipe: Recipe, workspace: Workspace) -> Plan:
    """Check everything that can be checked beforehand, cheapest first; the input is hashed last.

    Raises RecipeError (exit 2) or MissingError (exit 4).
    """
    target = recipe.text.target.resolved()
    check_target(target, recipe.origin.of("target.device"))
    path, spec, own_spec = find_source(registry, recipe)
    models = {ORIGINAL: Model(path, own_spec, "unread"), **_further_models(registry, recipe)}
    notes = check_joins(registry, recipe, spec, models)
    check_data(registry, recipe)
    check_metrics(registry, recipe, spec)
    check_gate_places(recipe, spec)
    _check_unmeasured(recipe, target)
    workspace.check()
    recipe.publisher.check(workspace.artifacts, recipe.name)
    format_ = registry.formats[spec.format]()
    size = format_.size(path).model_copy(update={"anatomy": format_.anatomy(path)})
    footprints = _footprints(recipe, size)
    data = {name: dataset.digest() for name, dataset in recipe.datasets.items()}
    source = Model(path, spec, digest_folder(path))
    baseline = Model(path, own_spec, source.digest)
    models = {
        name: baseline if name == ORIGINAL else replace(model, digest=digest_folder(model.path))
        for name, model in models.items()
    }
    if spec.trust_remote_code:
        notes.append("The checkpoint's own code was trusted and run (model.trust_remote_code).")
    plan = Plan(recipe, registry, workspace, target, source, baseline, models, size, data, (), tuple(notes))
    plan = replace(plan, steps=_steps(plan, footprints))
    _check_room(plan)
    return plan


def _further_models(registry: Registry, recipe: Recipe) -> dict[str, Model]:
    """What stages read beside their input, but for the original; each found once."""
    found: dict[str, Model] = {}
    for key, stage in recipe.stages.items():
        for field, name in stage.model_names().items():
            if name != ORIGINAL and name not in found:
                found[name] = find_model(registry, name, recipe.origin.of(f"stages.{key}.{field}"))
    return found


def _changed(what: str, where: object) -> RecipeError:
    return RecipeError(
        f"The {what} changed while the run read it; nothing that was made from it is kept.",
        where=str(where),
        hint="run again and leave it alone meanwhile; a stage must not write into its input",
    )


def _footprints(recipe: Recipe, size: ModelSize) -> dict[str, Footprint]:
    footprints = {}
    known = True
    for name, stage in recipe.stages.items():
        with parameters_placed(recipe, name):
            if known:
                stage.check_size(size)
            footprints[name] = stage.footprint(size)
        known = known and footprints[name].sizes_known
        # What a model is built of stays what it was, unless a stage says otherwise.
        kept = {"anatomy": footprints[name].result.anatomy or size.anatomy}
        size = footprints[name].result.model_copy(update=kept)
    return footprints


def _check_unmeasured(recipe: Recipe, target: Target) -> None:
    """Raise RecipeError where gates that were not measured would be let pass although the model runs here."""
    if recipe.text.validate_.allow_unmeasured and target.runs:
        raise RecipeError(
            "Gates are left unmeasured only for a target that runs nothing here.",
            where=recipe.origin.of("validate.allow_unmeasured"),
            accepted="false, or a target whose runs is false, such as target=rtx-build",
        )


def _check_room(plan: Plan) -> None:
    """Raise MissingError when a step that has to run is predicted not to fit."""
    for step in plan.steps:
        if step.sealed is None and step.footprint.memory_bytes > total_memory():
            raise MissingError(
                f"The step '{step.name}' is predicted to need {memory(step.footprint.memory_bytes)} of "
                f"memory, and this machine has {memory(total_memory())}.",
                where=plan.recipe.origin.of(f"stages.{step.name}"),
                hint="run it on a larger machine, or put a step that makes the model smaller before it",
            )
    root = plan.workspace.store.root
    free = shutil.disk_usage(existing(root)).free
    if plan.disk > free:
        raise MissingError(
            f"The steps are predicted to write {disk(plan.disk)}, and {disk(free)} are free.",
            where=str(root),
            hint="make room, or point MODELWRIGHT_STORE at a larger disk",
        )


def _steps(plan: Plan, footprints: Mapping[str, Footprint]) -> tuple[PlannedStep, ...]:
    # What a recipe says of the input (pooling, dtype) is part of it, beside the bytes.
    digest: str | None = input_digest(plan.source)
    steps = []
    for name, stage in plan.recipe.stages.items():
        key = plan.key_of(stage, digest) if digest else None
        sealed = plan.workspace.store.find(key) if key else None
        digest = input_digest(sealed.model) if sealed else None
        distribution = plan.registry.stages.distribution(stage.name)
        origin = f"{distribution.name} {distribution.version}"
        steps.append(PlannedStep(name, stage, origin, footprints[name], key, sealed))
    return tuple(steps)


def input_digest(model: Model) -> str:
    """What a step's key knows its input by: the folder's bytes and the spec they are read with."""
    return f"{model.digest}:{model.spec.model_dump_json()}"
