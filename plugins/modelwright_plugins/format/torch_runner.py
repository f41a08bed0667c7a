"""Runs a Hugging Face encoder in PyTorch."""

from __future__ import annotations

import inspect

import numpy as np

from modelwright.api.model import Model
from modelwright.api.runner import Floats, Inputs
from modelwright.api.target import Target
from modelwright_plugins.format.torch import load_as_described
from modelwright_plugins.format.torch_device import describe_torch, require_device
from modelwright_plugins.format.torch_tokenizer import with_fast_tokenizer
from modelwright_plugins.text.runner import TextRunner


class TorchRunner(TextRunner):
    """The checkpoint in its own dtype, on the target's device.

    `spec.details["attention"]` is its attention; without it, transformers' default.
    """

    def __init__(self, model: Model, target: Target) -> None:
        import torch

        require_device(target)
        with with_fast_tokenizer(model) as with_tokenizer:
            super().__init__(with_tokenizer)
        torch.set_num_threads(target.thread_count)
        self._threads = target.thread_count
        self._model = load_as_described(model, target)
        self._names = set(inspect.signature(self._model.forward).parameters)

    def forward(self, inputs: Inputs) -> Floats:
        """Last hidden state [batch, length, dim], or logits [batch, labels]."""
        import torch

        device = self._model.device
        fed = {
            name: torch.from_numpy(array).to(device) for name, array in inputs.items() if name in self._names
        }
        with torch.inference_mode():
            output = self._model(**fed)
            tensor = output.last_hidden_state if self.spec.task == "embed" else output.logits
            return np.asarray(tensor.float().cpu().numpy())

    def describe(self) -> dict[str, str]:
        """Runtime, device, dtype, threads and the attention transformers chose."""
        return describe_torch(self._model, self._threads, self.spec.details.get("note"))
