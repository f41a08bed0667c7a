"""Runs a Hugging Face encoder in PyTorch."""

from __future__ import annotations

import dataclasses
import inspect
import tempfile
from pathlib import Path

import numpy as np

from modelwright.api.model import Model
from modelwright.api.runner import Floats, Inputs
from modelwright.api.target import Target
from modelwright.errors import MissingError
from modelwright_plugins.format.torch import load_checkpoint, save_fast_tokenizer
from modelwright_plugins.text.runner import TextRunner
from modelwright_plugins.text.tokenize import TOKENIZER_FILE


class TorchRunner(TextRunner):
    """The checkpoint in its own dtype, with transformers' default attention, on the target's device."""

    def __init__(self, model: Model, target: Target) -> None:
        import torch

        if target.device == "cuda" and not torch.cuda.is_available():
            raise MissingError(
                "PyTorch finds no CUDA device.",
                where="target.device",
                hint="run on a machine with an NVIDIA GPU and a CUDA build of torch, or target=cpu",
            )
        if (model.path / TOKENIZER_FILE).is_file():
            super().__init__(model)
        else:
            with tempfile.TemporaryDirectory() as folder:
                save_fast_tokenizer(model.path, Path(folder), trust_remote_code=model.spec.trust_remote_code)
                super().__init__(dataclasses.replace(model, path=Path(folder)))
        torch.set_num_threads(target.thread_count)
        device_map = model.spec.details.get("device_map")
        self._threads = target.thread_count
        self._model = load_checkpoint(model, device_map=str(device_map) if device_map else None)
        if not device_map:
            self._model = self._model.to(target.device)
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
        import torch
        import transformers

        return {
            "runtime": f"PyTorch {torch.__version__}, transformers {transformers.__version__}",
            "device": str(self._model.device),
            "dtype": str(self._model.dtype).removeprefix("torch."),
            "threads": str(self._threads),
            "attention": str(self._model.config._attn_implementation),
        }
