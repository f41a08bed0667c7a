"""How well the model predicts text: nats per token, each token judged once."""

from __future__ import annotations

from typing import Any

from benchmarks.reference.corpus import Ids


def window_loss(model: Any, tokens: Ids, length: int) -> float:
    """Mean negative log-likelihood over windows that share one token, in nats; the first is not judged."""
    return sliding_loss(model, tokens, length, length - 1)[0]


def sliding_loss(model: Any, tokens: Ids, length: int, stride: int) -> tuple[float, int]:
    """Mean negative log-likelihood in nats, and how many tokens were judged: all but the first.

    Windows of `length` tokens advance by `stride`, at most `length` - 1; each judges the tokens that no
    earlier one did, so that all but those of the first window have at least `length` - `stride` before them.
    """
    import torch
    from torch.nn import functional

    model.eval()
    total, judged, start = 0.0, 1, 0
    with torch.inference_mode():
        while judged < len(tokens):
            end = min(start + length, len(tokens))
            ids = torch.from_numpy(tokens[start:end])[None]
            logits = model(input_ids=ids, use_cache=False).logits[0].float()
            new = end - judged
            losses = functional.cross_entropy(logits[-new - 1 : -1], ids[0, -new:], reduction="sum")
            total += losses.item()
            judged = end
            start = min(start + stride, max(0, len(tokens) - length))
    return total / (judged - 1), judged - 1
