"""The kernels that compute a model's attention in PyTorch, seen while it runs."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

Kernel = Literal["flash", "cudnn", "efficient", "flex", "math", "eager", "unknown"]
# Operators that torch.nn.functional.scaled_dot_product_attention ends in (PyTorch, SDPBackend).
SDPA: dict[str, Kernel] = {
    "aten::_scaled_dot_product_flash_attention": "flash",
    "aten::_scaled_dot_product_flash_attention_for_cpu": "flash",
    "aten::_scaled_dot_product_cudnn_attention": "cudnn",
    "aten::_scaled_dot_product_efficient_attention": "efficient",
    "aten::_scaled_dot_product_attention_math": "math",
}
# Other implementations have one kernel, which no operator of PyTorch's names; flex attention is compiled.
SINGLE_KERNEL: dict[str, Kernel] = {
    "eager": "eager",
    "flash_attention_2": "flash",
    "flash_attention_3": "flash",
    "flex_attention": "flex",
}
# Kernels that keep no matrix of all scores, in memory linear in the length: cuDNN's is flash attention too.
FLASH = frozenset({"flash", "cudnn"})
FUSED = FLASH | {"efficient", "flex"}
LENGTH = 64


def kernels_used(model: PreTrainedModel, *, padded: bool) -> dict[Kernel, int]:
    """How many layers each kernel computes in one forward pass of two texts of up to 64 tokens.

    With `padded`, one of them is shorter, so that attention takes a mask. The kernels of `sdpa` are those
    that ran; every other implementation has one, by its name. Layers that none of them accounts for, such as
    those with attention code of their own, are `unknown`.
    """
    import torch
    from torch.profiler import ProfilerActivity, profile

    inputs = _inputs(model, padded=padded)
    with torch.inference_mode(), profile(activities=[ProfilerActivity.CPU]) as seen:
        model(**inputs)
    implementation = str(model.config._attn_implementation)
    layers = int(model.config.get_text_config().num_hidden_layers)
    if implementation in SINGLE_KERNEL:
        return {SINGLE_KERNEL[implementation]: layers}
    counts: Counter[Kernel] = Counter()
    for event in seen.key_averages():
        if event.key in SDPA:
            counts[SDPA[event.key]] += event.count
    if (rest := layers - counts.total()) > 0:
        counts["unknown"] = rest
    return dict(counts)


def _inputs(model: PreTrainedModel, *, padded: bool) -> dict[str, torch.Tensor]:
    import torch

    config = model.config.get_text_config()
    # Some families count positions from 2.
    length = min(LENGTH, int(getattr(config, "max_position_embeddings", None) or LENGTH + 2) - 2)
    ids = torch.arange(2 * length, device=model.device).reshape(2, length) % config.vocab_size
    mask = torch.ones_like(ids)
    if padded:
        # Where encoders pad and where decoders do: the rest is what they see.
        shorter = length // 4
        if model.can_generate():
            mask[0, :shorter] = 0
        else:
            mask[0, -shorter:] = 0
    return {"input_ids": ids, "attention_mask": mask}
