"""A checkpoint's blocks one after the other, each with the hidden states that enter it now."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from modelwright.api.runner import Inputs
from modelwright.errors import StageError
from modelwright_plugins.blockwise.feed import fed
from modelwright_plugins.blockwise.matrices import Matrix, blocks_of, matrices_of

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    Arguments = tuple[tuple[Any, ...], dict[str, Any]]


@dataclass
class Block:
    """One block, in float32 while it is open, and what runs through it.

    `hidden` are the hidden states [1, length, width] that enter it, one for each calibration batch.
    """

    name: str
    module: torch.nn.Module
    matrices: list[Matrix]
    hidden: list[torch.Tensor]
    arguments: list[Arguments] = field(repr=False)

    def run(self, number: int) -> torch.Tensor:
        """The block's output on a calibration batch, [1, length, width]."""
        positional, named = self.arguments[number]
        output = self.module(self.hidden[number], *positional, **named)
        return output[0] if isinstance(output, tuple) else output


def walk(network: PreTrainedModel, batches: Sequence[Inputs], device: str) -> Iterator[Block]:
    """Each block in turn; what the caller changes in its matrices reaches the blocks that follow.

    Only the block in work is on `device` and in float32, and activations are held between two blocks alone.
    The network stays on the CPU; its weights are changed in place, in their type.
    """
    import torch

    prefix, blocks = blocks_of(network)
    hidden, arguments = _entering(network, blocks, batches, device)
    with torch.no_grad():
        for index, module in enumerate(blocks):
            name = f"{prefix}.{index}"
            with _open(module, device):
                taken = [row[index] for row in arguments]
                block = Block(name, module, matrices_of(module, name), hidden, taken)
                yield block
                if index + 1 < len(blocks):
                    for number in range(len(hidden)):
                        hidden[number] = block.run(number)


def _entering(
    network: PreTrainedModel, blocks: torch.nn.ModuleList, batches: Sequence[Inputs], device: str
) -> tuple[list[torch.Tensor], list[list[Arguments]]]:
    """Hidden states that enter the first block, and what else each block is called with, by batch.

    Blocks stand aside meanwhile: what they are called with (masks, positions) does not depend on what comes
    out of them.
    """
    import torch

    hidden: list[torch.Tensor] = []
    arguments: list[list[Arguments]] = []
    if not batches:
        return hidden, arguments
    pairs = _gives_pairs(network, blocks, batches[0])
    opened: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}  # those of a batch: blocks share most of them

    def stand_aside(*positional: Any, **named: Any) -> Any:
        entering, *others = positional or (named.pop("hidden_states"),)
        if not arguments[-1]:
            hidden.append(entering.float().to(device))
        arguments[-1].append((_opened(tuple(others), device, opened), _opened(named, device, opened)))
        return (entering,) if pairs else entering

    with _calling(blocks, stand_aside), torch.no_grad():
        for batch in batches:
            arguments.append([])
            opened.clear()
            network.base_model(**fed(network.base_model, batch))
            if len(arguments[-1]) != len(blocks):
                raise StageError(
                    f"{type(network).__name__} called its {len(blocks)} layers {len(arguments[-1])} times.",
                    where="model.path",
                    accepted="a transformer that calls each of its layers once",
                )
    return hidden, arguments


def _gives_pairs(network: PreTrainedModel, blocks: torch.nn.ModuleList, batch: Inputs) -> bool:
    """Whether blocks give a tuple that begins with the hidden states, or these alone."""
    import torch

    found: list[bool] = []
    handle = blocks[0].register_forward_hook(
        lambda module, inputs, output: found.append(isinstance(output, tuple))
    )
    try:
        with torch.no_grad():
            network.base_model(
                **fed(network.base_model, {name: array[:, :2] for name, array in batch.items()})
            )
    finally:
        handle.remove()
    return found[0]


@contextmanager
def _calling(blocks: torch.nn.ModuleList, forward: Callable[..., Any]) -> Iterator[None]:
    """Blocks call `forward` in place of their own."""
    for module in blocks:
        module.forward = forward
    try:
        yield
    finally:
        for module in blocks:
            del module.forward


@contextmanager
def _open(module: torch.nn.Module, device: str) -> Iterator[None]:
    """A module on a device, in float32; afterwards its weights are in their own memory and type again."""
    own = dict((*module.named_parameters(), *module.named_buffers()))
    kept = {name: tensor.data for name, tensor in own.items()}
    for tensor in own.values():
        tensor.data = _in_float32(tensor.data, device)
    try:
        yield
    finally:
        for name, tensor in own.items():
            # Where nothing had to be moved or widened, this is the same memory.
            tensor.data = kept[name].copy_(tensor.data)


def _opened(value: Any, device: str, seen: dict[int, tuple[torch.Tensor, torch.Tensor]]) -> Any:
    """Tensors on a device, those of floats in float32, in tuples and mappings too; one for each in `seen`."""
    import torch

    if isinstance(value, torch.Tensor):
        if id(value) not in seen:
            seen[id(value)] = (value, _in_float32(value, device))  # both, so that no other tensor gets its id
        return seen[id(value)][1]
    if isinstance(value, tuple):
        return tuple(_opened(item, device, seen) for item in value)
    if isinstance(value, dict):
        return {key: _opened(item, device, seen) for key, item in value.items()}
    return value


def _in_float32(tensor: torch.Tensor, device: str) -> torch.Tensor:
    return tensor.to(device).float() if tensor.is_floating_point() else tensor.to(device)
