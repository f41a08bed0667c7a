"""Runs a causal language model in TensorRT, its KV cache on the GPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from modelwright.api.model import Model
from modelwright.api.runner import Floats, Inputs, Tokens
from modelwright.api.target import Target
from modelwright_plugins.format.onnx_causal_graph import LOGITS, PAST, present_of
from modelwright_plugins.format.tensorrt_engine import LoadedEngine
from modelwright_plugins.tensorrt.profile import largest_batch
from modelwright_plugins.text.causal_runner import CausalRunner
from modelwright_plugins.text.steps import append_tokens, positions

if TYPE_CHECKING:
    import torch


class TensorRTCausalRunner(CausalRunner):
    """One engine with a profile for prompts and one for what follows.

    Its graph joins the past and the new in front of each attention, so that keys and values that come out of
    one run go into the next.
    """

    def __init__(self, model: Model, target: Target) -> None:
        super().__init__(model)
        self.engine = LoadedEngine(model, target)
        self.caches = tuple(name for name in self.engine.inputs if PAST.fullmatch(name))
        self.cache_item_bytes = self.engine.dtype_of(self.caches[0]).itemsize
        self.max_batch = largest_batch(self.engine.profiles)

    def all_logits(self, inputs: Inputs) -> Floats:
        """Logits at every position."""
        found = self.engine.run(self.fed(inputs["input_ids"], inputs["attention_mask"], self.no_past(inputs)))
        return _array(found[LOGITS])

    def start(self, inputs: Inputs, new_tokens: int) -> TensorRTDecoder:
        """Run the prompts; the cache grows with each token."""
        self.check_room(inputs, new_tokens)
        return TensorRTDecoder(self, inputs)

    def fed(
        self, ids: Tokens, mask: Tokens, past: Mapping[str, torch.Tensor]
    ) -> dict[str, np.ndarray | torch.Tensor]:
        """What the engine takes for the last `ids.shape[1]` columns of `mask`."""
        places = positions(mask, ids.shape[1])
        return {"input_ids": ids, "attention_mask": mask, "position_ids": places, **past}

    def no_past(self, inputs: Inputs) -> dict[str, torch.Tensor]:
        """Keys and values of no token, [batch, heads, 0, width]."""
        shapes = {name: self.engine.shape_of(name) for name in self.caches}
        batch = len(inputs["input_ids"])
        return {
            name: self.engine.empty((batch, heads, 0, width), self.engine.dtype_of(name))
            for name, (_, heads, _, width) in shapes.items()
        }

    def describe(self) -> dict[str, str]:
        """Library, version, engine, GPU and the kind of cache."""
        return {**self.engine.describe(), "cache": "joined in each step"}


class TensorRTDecoder:
    """A batch with its keys and values on the GPU; the logits of each row's last position leave it."""

    def __init__(self, runner: TensorRTCausalRunner, inputs: Inputs) -> None:
        self._runner = runner
        self._mask = inputs["attention_mask"]
        self._past = runner.no_past(inputs)
        self.logits: Floats = self._run(inputs["input_ids"])

    def step(self, tokens: Tokens) -> Floats:
        """Append one token to each row."""
        column, self._mask = append_tokens(self._mask, tokens)
        self.logits = self._run(column)
        return self.logits

    def cache_bytes(self) -> int | None:
        """Bytes of keys and values."""
        return sum(tensor.nbytes for tensor in self._past.values())

    def _run(self, ids: Tokens) -> Floats:
        found = self._runner.engine.run(self._runner.fed(ids, self._mask, self._past))
        self._past = {name: found[present_of(name)] for name in self._past}
        return _array(found[LOGITS][:, -1])


def _array(tensor: torch.Tensor) -> Floats:
    return np.asarray(tensor.float().cpu().numpy())
