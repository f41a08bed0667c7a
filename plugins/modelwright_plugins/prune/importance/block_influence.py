"""Importance of whole layers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from modelwright_plugins.blockwise.matrices import blocks_of

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from modelwright_plugins.prune.importance.steps import Step


def block_influence(network: PreTrainedModel, steps: Iterable[Step]) -> list[float]:
    """1 - the cosine of the hidden states before and after each layer, the mean over tokens.

    Source: Men et al. 2024, ShortGPT, arXiv:2403.03853.
    """
    import torch

    blocks = blocks_of(network)[1]
    sums, counts = [0.0] * len(blocks), [0] * len(blocks)

    def seen(number: int) -> Any:
        def hook(
            module: torch.nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], output: Any
        ) -> None:
            before = inputs[0] if inputs else named["hidden_states"]
            after = output[0] if isinstance(output, tuple) else output
            cosine = torch.nn.functional.cosine_similarity(before.float(), after.float(), dim=-1)
            sums[number] += float((1 - cosine).double().sum())
            counts[number] += cosine.numel()

        return hook

    handles = [
        block.register_forward_hook(seen(number), with_kwargs=True) for number, block in enumerate(blocks)
    ]
    try:
        with torch.no_grad():
            for step in steps:
                step()
    finally:
        for handle in handles:
            handle.remove()
    return [total / count for total, count in zip(sums, counts, strict=True)]


def influential(influence: list[float], count: int) -> list[int]:
    """The `count` layers of most influence, in order; of equals the first."""
    ranked = sorted(range(len(influence)), key=lambda number: (-influence[number], number))
    return sorted(ranked[:count])
