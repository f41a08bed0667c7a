"""The most that this GPU gives: its rate of bf16 products, and of bytes moved."""

from __future__ import annotations

import torch

from benchmarks.gpu.timing import free, take_turns

SIDE = 8192
BYTES = 4 << 30


def measure() -> dict[str, float]:
    """Floating-point operations and bytes (read and written) in a second."""
    one, other = (torch.randn(SIDE, SIDE, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    product = torch.empty_like(one)
    source = torch.empty(BYTES, dtype=torch.uint8, device="cuda")
    copy = torch.empty_like(source)
    found = take_turns(
        {
            "product": lambda: torch.mm(one, other, out=product),
            "copy": lambda: copy.copy_(source),
        }
    )
    free()
    return {
        "flops": 2 * SIDE**3 / (found["product"]["value"] / 1000),
        "bytes": 2 * BYTES / (found["copy"]["value"] / 1000),
    }
