"""Runs a text encoder in ONNX Runtime. Imports neither torch nor onnx."""

from __future__ import annotations

import numpy as np

from modelwright.api.model import Model
from modelwright.api.runner import Floats, Inputs
from modelwright.api.target import Target
from modelwright.errors import MissingError, StageError
from modelwright_plugins.format.onnx import GRAPH_FILE
from modelwright_plugins.text.outputs import OUTPUTS
from modelwright_plugins.text.runner import TextRunner


class OnnxRunner(TextRunner):
    """A session with the target's provider and threads.

    `spec.details["session"]` holds session options of the artifact (`add_session_config_entry` keys).
    """

    def __init__(self, model: Model, target: Target) -> None:
        import onnxruntime as ort

        super().__init__(model)
        available = ort.get_available_providers()
        if target.provider not in available:
            raise MissingError(
                f"ONNX Runtime {ort.__version__} has no {target.provider}.",
                where="target.provider",
                accepted=", ".join(available),
            )
        options = ort.SessionOptions()
        options.intra_op_num_threads = target.thread_count
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        entries = model.spec.details.get("session", {})
        for key, value in entries.items() if isinstance(entries, dict) else ():
            options.add_session_config_entry(key, str(value))
        self._session = ort.InferenceSession(
            str(model.path / GRAPH_FILE), options, providers=[target.provider]
        )
        # A session falls back to the CPU silently when a provider's libraries do not load.
        if self._session.get_providers()[0] != target.provider:
            raise MissingError(
                f"ONNX Runtime fell back from {target.provider} to {self._session.get_providers()[0]}.",
                where="target.provider",
                hint="install the provider's libraries, or choose target=cpu",
            )
        self._inputs = [item.name for item in self._session.get_inputs()]
        names = [item.name for item in self._session.get_outputs()]
        wanted = OUTPUTS[model.spec.task]
        if wanted not in names:
            raise StageError(
                f"The graph has no output '{wanted}'.", where=str(model.path), accepted=str(names)
            )
        self._output = [wanted]
        self._threads = target.thread_count
        self._provider = target.provider

    def forward(self, inputs: Inputs) -> Floats:
        """Last hidden state [batch, length, dim], or logits [batch, labels]."""
        fed = {name: inputs[name] for name in self._inputs}
        return np.asarray(self._session.run(self._output, fed)[0], dtype=np.float32)

    def describe(self) -> dict[str, str]:
        """Runtime, provider, threads."""
        import onnxruntime as ort

        return {
            "runtime": f"ONNX Runtime {ort.__version__}",
            "provider": self._provider,
            "threads": str(self._threads),
        }
