"""The device PyTorch runs on, and what a runner says of it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from modelwright.api.component import installed_version
from modelwright.api.target import Target
from modelwright.errors import MissingError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def require_device(target: Target) -> None:
    """Raise MissingError when PyTorch does not find the target's device."""
    import torch

    if target.device == "cuda" and not torch.cuda.is_available():
        raise MissingError(
            "PyTorch finds no CUDA device.",
            where="target.device",
            hint="run on a machine with an NVIDIA GPU and a CUDA build of torch, or target=cpu",
        )


def cuda_peak(target: Target) -> int | None:
    """The most bytes that PyTorch's tensors have held on all GPUs since this process began.

    None for another device, and in a process that does not run PyTorch.
    """
    if target.device != "cuda" or "torch" not in sys.modules:
        return None
    import torch

    return sum(torch.cuda.max_memory_allocated(index) for index in range(torch.cuda.device_count()))


def describe_torch(model: PreTrainedModel, threads: int) -> dict[str, str]:
    """Runtime, device, dtype, threads, the attention transformers chose, and what quantized the weights."""
    import torch
    import transformers

    method = getattr(model, "quantization_method", None)
    described = {
        "runtime": f"PyTorch {torch.__version__}, transformers {transformers.__version__}",
        "device": str(model.device),
        "dtype": str(model.dtype).removeprefix("torch."),
        "threads": str(threads),
        "attention": str(model.config._attn_implementation),
    }
    if method is not None:
        # Transformers names a method as its distribution.
        described["quantization"] = f"{method.value} {installed_version(method.value) or '?'}"
    return described
