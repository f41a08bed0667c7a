"""The blocks of a transformer in PyTorch, and the matrices in them that activations are multiplied with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelwright.errors import RecipeError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Matrix:
    """A layer's weight by the layer's dotted name in the checkpoint, such as `model.layers.0.mlp.up_proj`."""

    name: str
    module: torch.nn.Module

    @property
    def weight(self) -> torch.Tensor:
        """The weights as [outputs, inputs], a view to be changed in place."""
        from transformers.pytorch_utils import Conv1D

        weight = self.module.weight
        assert not isinstance(weight, type(self.module))
        data: torch.Tensor = weight.data  # type: ignore[assignment]
        return data.T if isinstance(self.module, Conv1D) else data


def blocks_of(network: PreTrainedModel) -> tuple[str, torch.nn.ModuleList]:
    """The list of a model's repeated layers, and its dotted name. Raises RecipeError where there is none."""
    import torch

    count = network.config.get_text_config().num_hidden_layers
    for name, module in network.named_modules():
        if isinstance(module, torch.nn.ModuleList) and len(module) == count:
            return name, module
    raise RecipeError(
        f"No list of {count} layers is found in {type(network).__name__}.",
        where="model.path",
        accepted="a transformer whose layers follow each other in one list",
    )


def matrices_of(module: torch.nn.Module, prefix: str = "") -> list[Matrix]:
    """The linear layers in a module, in its order; `prefix` is the module's own name."""
    import torch
    from transformers.pytorch_utils import Conv1D

    return [
        Matrix(f"{prefix}.{name}" if prefix else name, found)
        for name, found in module.named_modules()
        if isinstance(found, (torch.nn.Linear, Conv1D))
    ]
