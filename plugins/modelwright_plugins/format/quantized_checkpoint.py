"""Hugging Face checkpoints whose weights a library has quantized, run by PyTorch through that library."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from pathlib import Path
from typing import ClassVar

from modelwright.api.model import Model, ModelSize
from modelwright.api.runner import Runner
from modelwright.api.target import Target
from modelwright.errors import RecipeError
from modelwright_plugins.format.json_file import read_json
from modelwright_plugins.format.safetensors_header import BITS, TensorEntry, read_header
from modelwright_plugins.format.torch import Torch
from modelwright_plugins.format.weight_files import weight_files


class QuantizedCheckpoint(Torch):
    """A folder whose config.json has a `quantization_config`, which `from_pretrained` loads by itself.

    ::

        class BitsAndBytes(QuantizedCheckpoint, name="bitsandbytes", requires=("torch", "bitsandbytes")):
            quant_method = "bitsandbytes"

            def quantized_layers(self, path: Path) -> dict[str, int]: ...

    `quant_method` is what the configuration calls the method. Such a folder is the result of a step and no
    input of a recipe: `describe` refuses it.
    """

    quant_method: ClassVar[str]

    @abstractmethod
    def quantized_layers(self, path: Path) -> dict[str, int]:
        """The number of weights of each quantized layer by its dotted name, from headers alone."""

    def recognises(self, path: Path) -> bool:
        """A folder whose config.json names the method."""
        return quant_method_of(path) == self.quant_method

    def check(self, path: Path, *, deep: bool = False) -> None:
        """What a plain checkpoint is checked for, the method, and that there are weights quantized by it."""
        super().check(path, deep=deep)
        found = quant_method_of(path)
        if found != self.quant_method:
            raise RecipeError(
                f"The checkpoint is not quantized by {self.quant_method}, but by {found}."
                if found
                else "The checkpoint is not quantized.",
                where=str(path / "config.json") + ", key quantization_config.quant_method",
                accepted=self.quant_method,
            )
        if not self.quantized_layers(path):
            raise RecipeError(
                f"config.json says that the weights are quantized by {self.quant_method}, and none is.",
                where=str(path),
                hint="config.json and the weights are of different checkpoints",
            )

    def size(self, path: Path) -> ModelSize:
        """Weights as the model has them, and the bytes they take with their scales."""
        layers = self.quantized_layers(path)
        entries = tensor_entries(path)
        plain = [
            entry
            for name, entry in entries.items()
            if (layer := owner(name, layers)) is None or name == f"{layer}.bias"
        ]
        return ModelSize(
            parameters=sum(layers.values()) + sum(entry.elements for entry in plain),
            weight_bytes=sum(map(tensor_bytes, entries.values())),
        )

    def runner(self, model: Model, target: Target) -> Runner:
        """PyTorch on the target's device, the weights as they are stored, the rest in its own dtype."""
        # `from_pretrained` puts quantized weights on a GPU where there is one, unless told where to.
        details = {**model.spec.details, "device_map": model.spec.details.get("device_map") or target.device}
        floats = str(read_json(model.path / "config.json").get("dtype", "float32"))
        spec = model.spec.model_copy(update={"dtype": floats, "details": details})
        return super().runner(dataclasses.replace(model, spec=spec), target)


def quant_method_of(path: Path) -> str | None:
    """What config.json names as the quantization of the weights; None where it names none."""
    config = read_json(path / "config.json").get("quantization_config")
    method = config.get("quant_method") if isinstance(config, dict) else None
    return method if isinstance(method, str) else None


def tensor_entries(path: Path) -> dict[str, TensorEntry]:
    """Every tensor of a checkpoint by its name."""
    return {name: entry for file in weight_files(path) for name, entry in read_header(file).items()}


def tensor_bytes(entry: TensorEntry) -> int:
    """Bytes of one tensor."""
    return entry.elements * BITS.get(entry.dtype, 8) // 8


def owner(name: str, layers: dict[str, int]) -> str | None:
    """The quantized layer that a tensor belongs to, be it scales or bias; None where it is of another."""
    parts = name.split(".")
    prefixes = (".".join(parts[:end]) for end in range(len(parts) - 1, 0, -1))
    return next((prefix for prefix in prefixes if prefix in layers), None)
