"""Examples as the tensors that a model takes."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from modelwright_plugins.training.example import Example


def padded(examples: Sequence[Example], device: torch.device) -> dict[str, torch.Tensor]:
    """`input_ids` and `attention_mask`, int64 [examples, longest], padded on the right.

    What stands at padding is masked, so that its id does not matter.
    """
    longest = max(len(example.tokens) for example in examples)
    ids = torch.zeros(len(examples), longest, dtype=torch.int64)
    mask = torch.zeros(len(examples), longest, dtype=torch.int64)
    for row, example in enumerate(examples):
        ids[row, : len(example.tokens)] = torch.tensor(example.tokens)
        mask[row, : len(example.tokens)] = 1
    return {"input_ids": ids.to(device), "attention_mask": mask.to(device)}
