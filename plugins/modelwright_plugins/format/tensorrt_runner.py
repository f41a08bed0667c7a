"""Runs a text encoder in TensorRT."""

from __future__ import annotations

import numpy as np

from modelwright.api.model import Model
from modelwright.api.runner import Floats, Inputs
from modelwright.api.target import Target
from modelwright_plugins.format.tensorrt_engine import LoadedEngine
from modelwright_plugins.text.outputs import OUTPUTS
from modelwright_plugins.text.runner import TextRunner


class TensorRTRunner(TextRunner):
    """A batch runs in the first profile whose shapes it fits."""

    def __init__(self, model: Model, target: Target) -> None:
        super().__init__(model)
        self._engine = LoadedEngine(model, target)
        self._output = OUTPUTS[model.spec.task]

    def forward(self, inputs: Inputs) -> Floats:
        """Last hidden state [batch, length, dim], or logits [batch, labels]."""
        found = self._engine.run(inputs)[self._output]
        return np.asarray(found.float().cpu().numpy())

    def describe(self) -> dict[str, str]:
        """Library, version, engine and GPU."""
        return self._engine.describe()
