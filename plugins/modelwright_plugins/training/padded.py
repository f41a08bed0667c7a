"""Examples as the tensors that a model takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from modelwright_plugins.training.example import Example

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def padded(examples: Sequence[Example], network: PreTrainedModel) -> dict[str, torch.Tensor]:
    """`input_ids` and `attention_mask`, int64 [examples, longest], padded on the right, on its device.

    Padding is masked, and of the network's own id, by which a classifier of the last token finds that.
    """
    longest = max(len(example.tokens) for example in examples)
    config = network.config.get_text_config()
    padding = config.pad_token_id or 0
    if not 0 <= padding < config.vocab_size:  # -1 says that there is none
        padding = 0
    ids = torch.full((len(examples), longest), padding, dtype=torch.int64)
    mask = torch.zeros(len(examples), longest, dtype=torch.int64)
    for row, example in enumerate(examples):
        ids[row, : len(example.tokens)] = torch.tensor(example.tokens)
        mask[row, : len(example.tokens)] = 1
    return {"input_ids": ids.to(network.device), "attention_mask": mask.to(network.device)}
