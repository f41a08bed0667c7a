"""The device PyTorch runs on, and what a runner says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

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


def describe_torch(model: PreTrainedModel, threads: int) -> dict[str, str]:
    """Runtime, device, dtype, threads and the attention transformers chose."""
    import torch
    import transformers

    return {
        "runtime": f"PyTorch {torch.__version__}, transformers {transformers.__version__}",
        "device": str(model.device),
        "dtype": str(model.dtype).removeprefix("torch."),
        "threads": str(threads),
        "attention": str(model.config._attn_implementation),
    }
