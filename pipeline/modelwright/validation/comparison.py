"""What differs between two reports."""

from __future__ import annotations

from pathlib import Path

import yaml

from modelwright.api.metric import Value
from modelwright.errors import RecipeError
from modelwright.recipe.schema import Gate
from modelwright.report.figures import label, of_value
from modelwright.report.model import Report
from modelwright.report.units import percent


def changed_parameters(a: Report, b: Report) -> list[list[str]]:
    """Rows (key, in A, in B) for each parameter of a step that differs; `-` where a step is absent."""
    before, after = _parameters(a), _parameters(b)
    return [
        [key, before.get(key, "-"), after.get(key, "-")]
        for key in [*before, *(key for key in after if key not in before)]
        if before.get(key) != after.get(key)
    ]


def changed_values(a: Report, b: Report) -> list[list[str]]:
    """Rows (figure, A, B, change) for each figure that both reports have."""
    before = {label(value): value for value in a.values}
    rows = []
    for value in b.values:
        other = before.get(label(value))
        if other is not None:
            rows.append([label(value), _shown(other), _shown(value), _change(other, value)])
    return rows


def gates_of(folder: Path) -> dict[str, Gate]:
    """The gates of the recipe beside a report. Raises RecipeError when the file is not there."""
    file = folder / "recipe.yaml"
    if not file.is_file():
        raise RecipeError("The recipe of the run is missing.", where=str(file))
    gates = yaml.safe_load(file.read_text(encoding="utf-8"))["validate"]["gates"]
    return {name: Gate.model_validate(gate) for name, gate in gates.items()}


def _parameters(report: Report) -> dict[str, str]:
    return {
        f"{step.name}.{key}": str(value)
        for step in report.steps
        for key, value in {"use": step.stage, **step.parameters}.items()
    }


def _shown(value: Value) -> str:
    found = of_value(value, "candidate")
    return found.value if found else "-"


def _change(a: Value, b: Value) -> str:
    before, after = a.candidate.value, b.candidate.value
    return percent(after / before - 1, signed=True) if before else "-"
