"""Runs a causal language model in OpenVINO. Imports neither torch nor transformers."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

import numpy as np

from modelwright.api.model import Model
from modelwright.api.runner import Floats, Inputs, Tokens
from modelwright.api.target import Target
from modelwright_plugins.format.openvino_compile import compile_graph, describe_compiled
from modelwright_plugins.text.causal_runner import CausalRunner
from modelwright_plugins.text.steps import append_tokens, positions

if TYPE_CHECKING:
    import openvino

# Bytes of a number in the cache; an 8-bit cache has scales beside it that OpenVINO does not tell of.
CACHE_BYTES = {"f32": 4, "f16": 2, "bf16": 2}


class OpenVINOCausalRunner(CausalRunner):
    """A stateful graph on the CPU plugin: OpenVINO keeps the KV cache in variables of the infer request.

    Precision and cache are set by `spec.details` (see `openvino_compile.PROPERTIES`); without them the
    plugin chooses. Each `start` has a request of its own over the same compiled weights; one that is done
    with is used again, since making one takes as long as reading a short prompt.
    """

    def __init__(self, model: Model, target: Target) -> None:
        self.compiled, self.output = compile_graph(model, target)
        self._idle: list[openvino.InferRequest] = []
        super().__init__(model)
        self.names = {port.any_name for port in self.compiled.inputs}
        self.cache_item_bytes = CACHE_BYTES.get(self.compiled.get_property("KV_CACHE_PRECISION").to_string())

    def all_logits(self, inputs: Inputs) -> Floats:
        """Logits at every position, from a cache that is thrown away."""
        decoder = OpenVINODecoder(self, inputs["attention_mask"])
        return decoder.infer(inputs["input_ids"], np.arange(inputs["input_ids"].shape[1]))

    def start(self, inputs: Inputs, new_tokens: int) -> OpenVINODecoder:
        """Run the prompts in an infer request that no other batch uses."""
        self.check_room(inputs, new_tokens)
        decoder = OpenVINODecoder(self, inputs["attention_mask"])
        decoder.prefill(inputs["input_ids"])
        return decoder

    def take_request(self, user: object) -> openvino.InferRequest:
        """A request with an empty cache; it comes back, its cache still full, when `user` is collected."""
        request = self._idle.pop() if self._idle else self.compiled.create_infer_request()
        request.reset_state()
        weakref.finalize(user, self._idle.append, request)
        return request

    def describe(self) -> dict[str, str]:
        """Runtime, device, threads, precision of layers and of the cache."""
        cache = self.compiled.get_property("KV_CACHE_PRECISION").to_string()
        return {**describe_compiled(self.compiled), "cache": f"stateful, {cache}"}


class OpenVINODecoder:
    """A batch in an infer request that is its own while it lives."""

    logits: Floats

    def __init__(self, runner: OpenVINOCausalRunner, mask: Tokens) -> None:
        self._runner = runner
        self._request = runner.take_request(self)
        self._mask = mask

    def prefill(self, ids: Tokens) -> None:
        """Run the prompts of shape [batch, length]."""
        self.logits = self.infer(ids, np.array([ids.shape[1] - 1]))[:, -1]

    def step(self, tokens: Tokens) -> Floats:
        """Append one token to each row."""
        column, self._mask = append_tokens(self._mask, tokens)
        self.logits = self.infer(column, np.array([0]))[:, -1]
        return self.logits

    def infer(self, ids: Tokens, kept: Tokens) -> Floats:
        """Logits of shape [batch, kept, vocabulary]."""
        places = positions(self._mask, ids.shape[1])
        available = {
            "input_ids": ids,
            "attention_mask": self._mask,
            "position_ids": places,
            "beam_idx": np.arange(len(ids), dtype=np.int32),
            "logits_to_keep": kept,
        }
        fed = {name: np.ascontiguousarray(available[name]) for name in self._runner.names}
        results = self._request.infer(fed, share_outputs=True)
        # A copy: another batch may run in this request.
        found: Floats = np.array(results[self._runner.output], dtype=np.float32)
        # A graph without that input gives every position.
        return found if "logits_to_keep" in fed else found[:, kept]

    def cache_bytes(self) -> int | None:
        """Elements of the request's variables in the type they are kept in."""
        width = self._runner.cache_item_bytes
        if width is None:
            return None
        return int(sum(np.prod(state.state.shape) for state in self._request.query_state()) * width)
