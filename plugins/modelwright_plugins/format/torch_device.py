"""The device PyTorch runs on, and what a runner says of it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

from modelwright.api.component import installed_version
from modelwright.api.target import Target
from modelwright.errors import MissingError
from modelwright.planning.devices import parse_size

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def cuda_problem() -> str | None:
    """What keeps PyTorch from a CUDA device; None where nothing does."""
    import torch

    if torch.version.cuda is None:
        return "built without CUDA: install a CUDA build of torch"
    return None if torch.cuda.is_available() else f"built for CUDA {torch.version.cuda}, and finds no device"


def require_device(target: Target) -> None:
    """Raise MissingError when PyTorch does not find the target's device; there, limit its memory."""
    import torch

    if target.device != "cuda":
        return
    if problem := cuda_problem():
        raise MissingError(
            f"PyTorch {torch.__version__} runs on no CUDA device: {problem}.",
            where="target.device",
            hint="run on a machine with an NVIDIA GPU and a CUDA build of torch, or target=cpu",
        )
    _limit_memory(target)


def _limit_memory(target: Target) -> None:
    """What the target says of this process's memory on each GPU: its limit, or all of it."""
    import torch

    for device in range(torch.cuda.device_count()):
        room = torch.cuda.get_device_properties(device).total_memory
        limit = parse_size(target.memory_limit, "target.memory_limit") if target.memory_limit else room
        torch.cuda.set_per_process_memory_fraction(min(1.0, limit / room), device)


class CudaPeak(NamedTuple):
    """Bytes on all GPUs: what tensors held, and what PyTorch took from the driver for them."""

    allocated: int
    reserved: int


def cuda_peak(target: Target) -> CudaPeak | None:
    """The most that PyTorch has held since this process began.

    None for another device, and in a process that does not run PyTorch.
    """
    if target.device != "cuda" or "torch" not in sys.modules:
        return None
    import torch

    devices = range(torch.cuda.device_count())
    return CudaPeak(
        sum(torch.cuda.max_memory_allocated(device) for device in devices),
        sum(torch.cuda.max_memory_reserved(device) for device in devices),
    )


def describe_torch(model: PreTrainedModel, threads: int, note: object = None) -> dict[str, str]:
    """Runtime, device, dtype, threads, attention, what quantized the weights, and what is to be noted."""
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
    if note is not None:
        described["note"] = str(note)
    if method is not None:
        # Transformers names a method as its distribution.
        described["quantization"] = f"{method.value} {installed_version(method.value) or '?'}"
    return described
