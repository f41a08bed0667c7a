"""Llamas of random bfloat16 weights: reading a prompt, and each token after it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from benchmarks.gpu.timing import Call, free, peak_bytes, take_turns
from benchmarks.models.shape import SEED, SHAPES

BATCHES, PROMPTS = (1, 16), (512, 2048)
WAYS = ("eager", "sdpa")
COMPILED = ((1, 512), (16, 512))  # compiling takes long: these prompts alone


def measure() -> Iterator[dict[str, Any]]:
    """A row for each shape, batch and length of prompt: milliseconds of the prompt and of one more token."""
    for shape in SHAPES:
        networks = {way: _network(shape, way) for way in WAYS}
        weights = sum(parameter.numel() for parameter in networks["sdpa"].parameters())
        compiled = torch.compile(networks["sdpa"])
        for batch in BATCHES:
            for length in PROMPTS:
                ids = torch.randint(0, 30000, (batch, length), device="cuda")
                prompts = {f"PyTorch {way}": prompt_call(network, ids) for way, network in networks.items()}
                peaks = {name: peak_bytes(call) for name, call in prompts.items()}
                if (batch, length) in COMPILED:
                    torch._dynamo.reset()
                    prompts["PyTorch compiled"] = prompt_call(compiled, ids)
                steps = {f"PyTorch {way}": step_call(network, ids) for way, network in networks.items()}
                yield {
                    "shape": shape,
                    "parameters": weights,
                    "batch": batch,
                    "length": length,
                    "prompt_ms": take_turns(prompts, rounds=5),
                    "prompt_bytes": peaks,
                    "token_ms": take_turns(steps, rounds=5),
                }
                del prompts, steps
                free()
        del networks, compiled
        free()


def _network(shape: str, way: str) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(SEED)
    config = LlamaConfig(**{**SHAPES[shape], "dtype": "bfloat16"}, attn_implementation=way)
    with torch.device("cuda"):
        return LlamaForCausalLM(config).to(torch.bfloat16).eval()


def prompt_call(network: Any, ids: torch.Tensor) -> Call:
    """Logits of a prompt's last position, without a cache."""

    def call() -> object:
        with torch.inference_mode():
            return network(input_ids=ids, use_cache=False, logits_to_keep=1).logits

    return call


def step_call(network: Any, ids: torch.Tensor) -> Call:
    """One token behind a prompt that is in the cache; afterwards the cache is as it was."""
    with torch.inference_mode():
        cache = network(input_ids=ids, use_cache=True, logits_to_keep=1).past_key_values

    def call() -> object:
        with torch.inference_mode():
            logits = network(input_ids=ids[:, :1], past_key_values=cache, use_cache=True).logits
        cache.crop(-1)
        return logits

    return call
