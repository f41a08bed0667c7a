"""The figures of a trained model: perplexity on each split, beside the baselines and without near copies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from benchmarks.reference.baselines import bigram_loss, unigram_loss
from benchmarks.reference.corpus import encoded, stream
from benchmarks.reference.evaluate import sliding_loss
from benchmarks.reference.near_copies import near_copies
from modelwright.api.dataset import Split

LENGTH, STRIDE = 1024, 512


def figures(nats: float, tokens: int, size: int) -> dict[str, float]:
    """Perplexity per token, and bits per byte of UTF-8 with what the <|endoftext|> tokens cost included."""
    return {
        "nats": round(nats, 4),
        "perplexity": round(math.exp(nats), 3),
        "bits_per_byte": round(nats * tokens / math.log(2) / size, 4),
        "tokens": tokens,
        "bytes": size,
    }


def judge(model: Any, tokenizer: Tokenizer, texts: dict[Split, list[str]]) -> dict[str, Any]:
    """The model on train, validation and test; the baselines, fitted on train, on the same test tokens."""
    streams = {split: stream(tokenizer, encoded(tokenizer, texts[split])) for split in texts}
    size = tokenizer.get_vocab_size()

    def measured(judged: Sequence[str]) -> dict[str, float]:
        ids = stream(tokenizer, encoded(tokenizer, judged))
        nats, tokens = sliding_loss(model, ids, LENGTH, STRIDE)
        return figures(nats, tokens, bytes_of(judged))

    test = texts["test"]
    copies = near_copies(texts["train"], test)
    tokens, volume = len(streams["test"]) - 1, bytes_of(test)
    baselines = {"unigram": unigram_loss, "bigram": bigram_loss}
    return {
        "window": {"length": LENGTH, "stride": STRIDE},
        "model": {split: measured(texts[split]) for split in ("test", "validation", "train")},
        "baselines": {
            name: figures(loss(streams["train"], streams["test"], size), tokens, volume)
            for name, loss in baselines.items()
        },
        "test_without_near_copies": {
            "left_out": int(np.sum(copies)),
            "documents": len(test) - int(np.sum(copies)),
            **measured([text for text, copy in zip(test, copies, strict=True) if not copy]),
        },
    }


def bytes_of(texts: Sequence[str]) -> int:
    return sum(len(text.encode()) for text in texts)
