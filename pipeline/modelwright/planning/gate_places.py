"""Each gate picks one figure of those that a metric measures, where these are known before."""

from __future__ import annotations

from collections.abc import Mapping

from modelwright.api.model import ModelSpec
from modelwright.errors import RecipeError, did_you_mean
from modelwright.recipe.recipe import Recipe


def check_gate_places(recipe: Recipe, spec: ModelSpec) -> None:
    """Raise RecipeError for a gate whose `at` fits no figure of its metric, or several."""
    for key, gate in recipe.gates.items():
        grid = recipe.metrics[gate.metric.partition(".")[0]].grid(spec)
        axes = {axis: list(dict.fromkeys(map(str, values))) for axis, values in grid.items() if values}
        if axes:
            _check_place(recipe, key, axes)


def _check_place(recipe: Recipe, key: str, axes: Mapping[str, list[str]]) -> None:
    gate = recipe.gates[key]
    where = recipe.origin.of(f"validate.gates.{key}.at")
    places = "; ".join(f"{axis}: {', '.join(values)}" for axis, values in axes.items())
    for axis, wanted in gate.at.items():
        if axis not in axes:
            raise RecipeError(
                f"The gate '{key}' asks for {gate.metric} at {axis} {wanted}, and it is measured by "
                f"{' and '.join(axes)}.",
                where=where,
                accepted=places,
                hint=did_you_mean(axis, axes),
            )
        if str(wanted) not in axes[axis]:
            raise RecipeError(
                f"The gate '{key}' asks for {gate.metric} at {axis} {wanted}, which is not measured.",
                where=where,
                accepted=places,
                hint=f"or measure it, within what the model takes: "
                f"validate.metrics.{gate.metric.partition('.')[0]}.{axis}",
            )
    if missing := [axis for axis, values in axes.items() if axis not in gate.at and len(values) > 1]:
        raise RecipeError(
            f"The gate '{key}' fits several figures of {gate.metric}; it has to name "
            f"{' and '.join(missing)}.",
            where=where,
            accepted=places,
            hint=f"at: {{{', '.join(f'{axis}: {axes[axis][0]}' for axis in missing)}}}",
        )
