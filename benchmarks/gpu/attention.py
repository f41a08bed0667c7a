"""Causal attention over long prompts: each of PyTorch's kernels, in time and in memory."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from benchmarks.gpu.timing import Call, free, peak_bytes, take_turns

HEADS, HEAD_DIM = 32, 64
LENGTHS = (1024, 2048, 4096, 8192, 16384, 32768)
KERNELS = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
}


def eager(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """As transformers' eager attention: all scores are in memory, the softmax is of float32."""
    length = query.shape[2]
    scores = query @ key.transpose(2, 3) / math.sqrt(HEAD_DIM)
    hidden = torch.ones(length, length, dtype=torch.bool, device=query.device).triu(1)
    scores = scores.masked_fill(hidden, float("-inf"))
    return scores.softmax(-1, dtype=torch.float32).to(query.dtype) @ value


def kernel(backend: SDPBackend, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """One backend alone. Raises RuntimeError where it does not take these inputs."""
    with sdpa_kernel(backend):
        return scaled_dot_product_attention(query, key, value, is_causal=True)


def measure() -> Iterator[dict[str, Any]]:
    """A row for each length: milliseconds and bytes of each, and how far it is from eager attention."""
    for length in LENGTHS:
        inputs = [
            torch.randn(1, HEADS, length, HEAD_DIM, device="cuda", dtype=torch.bfloat16) for _ in range(3)
        ]
        contenders: dict[str, Call] = {"eager": partial(eager, *inputs)}
        contenders |= {name: partial(kernel, backend, *inputs) for name, backend in KERNELS.items()}
        peaks: dict[str, int | None] = {}
        for name in [*contenders]:
            try:
                peaks[name] = peak_bytes(contenders[name])
            except RuntimeError:  # no kernel for this device
                del contenders[name]
        fits = {name: call for name, call in contenders.items() if peaks[name] is not None}
        yield {
            "length": length,
            "ms": take_turns(fits, rounds=5),
            "bytes": peaks,
            # Products of causal attention: half of the scores.
            "flops": 2 * 2 * HEADS * HEAD_DIM * length * length / 2,
            "largest_difference": _differences(fits),
        }
        del inputs, contenders, fits
        free()


def _differences(contenders: dict[str, Call]) -> dict[str, float]:
    """From the first."""
    outputs = {name: call() for name, call in contenders.items()}
    first = next(iter(outputs.values()))
    return {name: float((found - first).abs().max()) for name, found in outputs.items()}  # type: ignore[operator]
