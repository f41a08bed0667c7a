"""modelwright: recipes in, validated model artifacts out.

>>> import modelwright
>>> result = modelwright.run("encoder-int8")
>>> runner = modelwright.Artifact.open(result.artifact).runner()
>>> runner.embed(["a sentence"]).shape
(1, 384)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import Field

    from modelwright.api.context import StageContext
    from modelwright.api.dataset import Dataset, Record, Split
    from modelwright.api.format import Format
    from modelwright.api.metric import Interval, Metric, MetricContext, Observation, Value
    from modelwright.api.model import Model, ModelSize, ModelSpec
    from modelwright.api.publisher import Published, Publisher
    from modelwright.api.runner import Runner
    from modelwright.api.stage import Footprint, Stage
    from modelwright.api.target import Target
    from modelwright.artifact.artifact import Artifact
    from modelwright.errors import MissingError, ModelwrightError, RecipeError, StageError
    from modelwright.export_file import export
    from modelwright.hookspecs import hookimpl
    from modelwright.main import plan, run

# Public names by the module that defines them; imported on first use, so that `import modelwright` is quick.
_HOMES = {
    "pydantic": ("Field",),
    "modelwright.api.context": ("StageContext",),
    "modelwright.api.dataset": ("Dataset", "Record", "Split"),
    "modelwright.api.format": ("Format",),
    "modelwright.api.metric": ("Interval", "Metric", "MetricContext", "Observation", "Value"),
    "modelwright.api.model": ("Model", "ModelSize", "ModelSpec"),
    "modelwright.api.publisher": ("Published", "Publisher"),
    "modelwright.api.runner": ("Runner",),
    "modelwright.api.stage": ("Footprint", "Stage"),
    "modelwright.api.target": ("Target",),
    "modelwright.artifact.artifact": ("Artifact",),
    "modelwright.errors": ("MissingError", "ModelwrightError", "RecipeError", "StageError"),
    "modelwright.export_file": ("export",),
    "modelwright.hookspecs": ("hookimpl",),
    "modelwright.main": ("plan", "run"),
}
_MODULES = {name: module for module, names in _HOMES.items() for name in names}

__version__ = "0.1.0"
__all__ = [
    "Artifact",
    "Dataset",
    "Field",
    "Footprint",
    "Format",
    "Interval",
    "Metric",
    "MetricContext",
    "MissingError",
    "Model",
    "ModelSize",
    "ModelSpec",
    "ModelwrightError",
    "Observation",
    "Published",
    "Publisher",
    "RecipeError",
    "Record",
    "Runner",
    "Split",
    "Stage",
    "StageContext",
    "StageError",
    "Target",
    "Value",
    "export",
    "hookimpl",
    "plan",
    "run",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'modelwright' has no attribute '{name}'")
    return getattr(importlib.import_module(_MODULES[name]), name)
