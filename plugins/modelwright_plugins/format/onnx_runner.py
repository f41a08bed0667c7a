"""Runs a text encoder in ONNX Runtime. Imports neither torch nor onnx."""

from __future__ import annotations

import numpy as np

from modelwright.api.model import Model
from modelwright.api.runner import Floats, Inputs
from modelwright.api.target import Target
from modelwright.errors import StageError
from modelwright_plugins.format.onnx_capture import CapturedRuns
from modelwright_plugins.format.onnx_session import describe_session, open_session
from modelwright_plugins.text.outputs import OUTPUTS
from modelwright_plugins.text.runner import TextRunner


class OnnxRunner(TextRunner):
    """A session with the target's provider and threads."""

    def __init__(self, model: Model, target: Target) -> None:
        super().__init__(model)
        self._session = open_session(model, target, graph_capture=target.graph_capture)
        self._inputs = [item.name for item in self._session.get_inputs()]
        names = [item.name for item in self._session.get_outputs()]
        wanted = OUTPUTS[model.spec.task]
        if wanted not in names:
            raise StageError(
                f"The graph has no output '{wanted}'.", where=str(model.path), accepted=str(names)
            )
        self._output = [wanted]
        self._target = target
        self._captured = CapturedRuns(self._session, self._inputs, wanted) if target.graph_capture else None

    def forward(self, inputs: Inputs) -> Floats:
        """Last hidden state [batch, length, dim], or logits [batch, labels]."""
        if self._captured is not None:
            return self._captured(inputs)
        fed = {name: inputs[name] for name in self._inputs}
        return np.asarray(self._session.run(self._output, fed)[0], dtype=np.float32)

    def describe(self) -> dict[str, str]:
        """Runtime, provider, threads, and which shapes run as CUDA graphs."""
        described = describe_session(self.spec, self._target)
        if self._captured is not None:
            described["CUDA graphs"] = ", ".join("x".join(map(str, shape)) for shape in self._captured.shapes)
        return described
