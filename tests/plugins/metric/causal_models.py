"""The tiny Llama, a copy with noise on its weights, and a text to measure them with."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from modelwright.api.dataset import Record
from modelwright.api.metric import Metric, MetricContext, Observation, Value
from modelwright.api.model import Model
from modelwright.api.runner import Inputs, Runner
from modelwright.api.target import Target
from modelwright.testing.texts import sentences
from modelwright_plugins.format.torch import Torch
from modelwright_plugins.format.torch_causal_runner import TorchCausalRunner, TorchDecoder

RECORDS = [Record(text=" ".join(sentences(4, seed))) for seed in range(16)]
CONTEXT = MetricContext(
    Target(threads=1), 0, Torch(), {("docs", "test"): RECORDS, ("docs", "validation"): RECORDS}
)


def opened(folder: Path) -> Model:
    """A checkpoint as the engine would hand it to a runner."""
    return Model(folder, Torch().describe(folder), folder.name)


def with_noise(source: Path, folder: Path, share: float) -> Path:
    """A copy of a checkpoint whose matrices have normal noise of a share of their own spread."""
    from safetensors.numpy import load_file, save_file

    shutil.copytree(source, folder)
    rng = np.random.default_rng(0)
    tensors = load_file(folder / "model.safetensors")
    for name, tensor in tensors.items():
        if tensor.ndim == 2:
            noise = rng.standard_normal(tensor.shape) * tensor.std() * share
            tensors[name] = (tensor + noise).astype(np.float32)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def with_context(model: Model, tokens: int) -> Model:
    """The same model, said to take fewer tokens."""
    return dataclasses.replace(model, spec=model.spec.model_copy(update={"max_length": tokens}))


def observed(
    metric: Metric, model: Model, runner: Runner, context: MetricContext = CONTEXT
) -> list[Observation]:
    """Every round of a metric."""
    return list(metric.observe(model, runner, context))


def figure(values: Sequence[Value], name: str, **at: int | str) -> Value:
    """The one value of this name and place."""
    (found,) = [v for v in values if v.name == name and at.items() <= v.at.items()]
    return found


class TwoRows(TorchCausalRunner):
    """Another runner, said to take two rows at once, that notes the shape of every prompt it starts."""

    max_batch = 2

    def __init__(self, other: TorchCausalRunner) -> None:
        self.__dict__ |= other.__dict__
        self.started: list[tuple[int, int, int]] = []

    def start(self, inputs: Inputs, new_tokens: int) -> TorchDecoder:
        batch, length = inputs["input_ids"].shape
        self.started.append((batch, length, new_tokens))
        return super().start(inputs, new_tokens)
