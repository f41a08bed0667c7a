"""Runs a causal language model in TensorRT, its KV cache on the GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from modelwright.api.model import Model
from modelwright.api.runner import Floats, Inputs, Tokens
from modelwright_plugins.format.onnx_causal_graph import LOGITS, PAST, present_of
from modelwright_plugins.format.tensorrt_engine import LoadedEngine
from modelwright_plugins.text.causal_runner import CausalRunner
from modelwright_plugins.text.steps import append_tokens, positions

if TYPE_CHECKING:
    import torch


class TensorRTCausalRunner(CausalRunner):
    """One engine with a profile for prompts and one for what follows.

    Its graph joins the past and the new in front of each attention, so that keys and values that come out of
    one run go into the next.
    """

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self.engine = LoadedEngine(model)
        self.caches = tuple(name for name in self.engine.inputs if PAST.fullmatch(name))
        self.cache_item_bytes = self.engine.dtype_of(self.caches[0]).itemsize
        self.max_batch = max(profile["batch"][2] for profile in self.engine.profiles)

    def all_logits(self, inputs: Inputs) -> Floats:
        """Logits at every position."""
        return TensorRTDecoder(self, inputs).whole

    def start(self, inputs: Inputs, new_tokens: int) -> TensorRTDecoder:
        """Run the prompts; the cache grows with each token."""
        self.check_room(inputs, new_tokens)
        return TensorRTDecoder(self, inputs)

    def describe(self) -> dict[str, str]:
        """Library, version, engine, GPU and the kind of cache."""
        return {**self.engine.describe(), "cache": "joined in each step"}


class TensorRTDecoder:
    """A batch with its keys and values; `whole` are the logits of all positions of the last run."""

    def __init__(self, runner: TensorRTCausalRunner, inputs: Inputs) -> None:
        self._runner = runner
        self._mask = inputs["attention_mask"]
        self._past = {name: self._nothing(name) for name in runner.caches}
        self.whole = self._run(inputs["input_ids"])
        self.logits: Floats = self.whole[:, -1]

    def step(self, tokens: Tokens) -> Floats:
        """Append one token to each row."""
        column, self._mask = append_tokens(self._mask, tokens)
        self.whole = self._run(column)
        self.logits = self.whole[:, -1]
        return self.logits

    def cache_bytes(self) -> int | None:
        """Bytes of keys and values."""
        return sum(tensor.nbytes for tensor in self._past.values())

    def _nothing(self, name: str) -> torch.Tensor:
        engine = self._runner.engine
        _, heads, _, width = engine.shape_of(name)
        return engine.empty((len(self._mask), heads, 0, width), engine.dtype_of(name))

    def _run(self, ids: Tokens) -> Floats:
        engine = self._runner.engine
        batch, length = ids.shape
        total = self._mask.shape[1]
        arrays = {
            "input_ids": ids,
            "attention_mask": self._mask,
            "position_ids": positions(self._mask, length),
        }
        sizes = {"batch": batch, "length": length, "past": total - length, "total": total}
        found = engine.run({**arrays, **self._past}, sizes)
        self._past = {name: found[present_of(name)] for name in self._past}
        return np.asarray(found[LOGITS].float().cpu().numpy())
