"""Runs a Hugging Face causal language model in PyTorch."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import numpy as np

from modelwright.api.model import Model
from modelwright.api.runner import Floats, Inputs, Tokens
from modelwright.api.target import Target
from modelwright_plugins.format.torch import load_as_described
from modelwright_plugins.format.torch_cache import new_cache, stored_bytes
from modelwright_plugins.format.torch_device import describe_torch, require_device
from modelwright_plugins.format.torch_tokenizer import with_fast_tokenizer
from modelwright_plugins.text.causal_runner import CausalRunner
from modelwright_plugins.text.steps import append_tokens, positions

if TYPE_CHECKING:
    import torch
    from transformers.cache_utils import Cache


class TorchCausalRunner(CausalRunner):
    """The checkpoint in its own dtype with a KV cache.

    `spec.details["attention"]` is its attention; without it, transformers' default.
    `spec.details["cache"]` is the cache's kind: `dynamic` (the default) grows with the text, `static` is
    allocated once for prompt and new tokens, `quantized` keeps keys and values in 8-bit floats.
    """

    def __init__(self, model: Model, target: Target) -> None:
        import torch

        require_device(target)
        with with_fast_tokenizer(model) as with_tokenizer:
            super().__init__(with_tokenizer)
        torch.set_num_threads(target.thread_count)
        self.kind = str(model.spec.details.get("cache") or "dynamic")
        self._threads = target.thread_count
        self.model = load_as_described(model, target)
        self.names = set(inspect.signature(self.model.forward).parameters)
        self.cache_item_bytes = 1 if self.kind == "quantized" else self.model.dtype.itemsize

    def all_logits(self, inputs: Inputs) -> Floats:
        """Logits at every position, without a cache."""
        import torch

        with torch.inference_mode():
            return _array(self.model(**self.feed(inputs["input_ids"], inputs["attention_mask"])).logits)

    def start(self, inputs: Inputs, new_tokens: int) -> TorchDecoder:
        """Run the prompts into a new cache."""
        self.check_room(inputs, new_tokens)
        batch, length = inputs["input_ids"].shape
        cache = new_cache(self.kind, self.model, batch, length + new_tokens)
        return TorchDecoder(self, inputs, cache)

    def feed(self, ids: Tokens, mask: Tokens, cache: Cache | None = None) -> dict[str, Any]:
        """Arguments of `forward` for the last `ids.shape[1]` columns of `mask`."""
        import torch

        device = self.model.device
        places = positions(mask, ids.shape[1])
        tensors: dict[str, torch.Tensor] = {
            "input_ids": torch.from_numpy(ids).to(device),
            "attention_mask": torch.from_numpy(mask).to(device),
            "position_ids": torch.from_numpy(places).to(device),
        }
        fed: dict[str, Any] = {name: tensor for name, tensor in tensors.items() if name in self.names}
        fed["use_cache"] = cache is not None
        if cache is not None:
            fed["past_key_values"] = cache
        return fed

    def describe(self) -> dict[str, str]:
        """Runtime, device, dtype, threads, attention and the kind of cache."""
        described = describe_torch(self.model, self._threads, self.spec.details.get("note"))
        return {**described, "cache": self.kind}


class TorchDecoder:
    """A batch in PyTorch with its cache."""

    def __init__(self, runner: TorchCausalRunner, inputs: Inputs, cache: Cache) -> None:
        self._runner = runner
        self._cache = cache
        self._mask = inputs["attention_mask"]
        self.logits = self._forward(inputs["input_ids"])

    def step(self, tokens: Tokens) -> Floats:
        """Append one token to each row."""
        column, self._mask = append_tokens(self._mask, tokens)
        self.logits = self._forward(column)
        return self.logits

    def cache_bytes(self) -> int | None:
        """Bytes of the tensors in the cache."""
        return stored_bytes(self._cache)

    def _forward(self, ids: Tokens) -> Floats:
        import torch

        fed = self._runner.feed(ids, self._mask, self._cache)
        if "logits_to_keep" in self._runner.names:
            fed["logits_to_keep"] = 1
        with torch.inference_mode():
            return _array(self._runner.model(**fed).logits[:, -1])


def _array(tensor: torch.Tensor) -> Floats:
    return np.asarray(tensor.float().cpu().numpy())
