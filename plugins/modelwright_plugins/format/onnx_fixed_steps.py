"""Steps of one token whose shapes do not grow with the text, so that CUDA graphs can replay them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from modelwright.api.runner import Floats, Tokens
from modelwright_plugins.format.onnx_capture import FixedRun
from modelwright_plugins.format.onnx_causal_cache import CacheBuffers
from modelwright_plugins.format.onnx_causal_graph import LOGITS, CausalGraph, bind_logits_to_keep

if TYPE_CHECKING:
    import onnxruntime

# Capacities are powers of two from here on, so that texts of similar lengths share buffers and a graph.
LEAST_CAPACITY = 64
# Recording one takes two steps' time: not worth it for fewer.
LEAST_STEPS = 4
MOST_GRAPHS = 8


class FixedSteps:
    """Steps of batches of one size, in a cache of one capacity.

    The mask has a column for each place of the cache, zero where nothing is yet: a graph that counts tokens
    by its mask's sum, and appends where they end, gives the logits that it gives for the text's own length.
    """

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        graph: CausalGraph,
        vocabulary: int,
        batch: int,
        capacity: int,
        device: str,
        number: str,
    ) -> None:
        self._graph = graph
        self._mask = np.zeros((batch, capacity), np.int64)
        inputs = graph.token_inputs(np.zeros((batch, 1), np.int64), self._mask)
        shape = (batch, 1, vocabulary)
        self._run = FixedRun(session, inputs, LOGITS, shape, graph.logits_dtype, device, number)
        self.buffers = CacheBuffers("shared", graph, batch, capacity, device)
        self.buffers.bind(self._run.binding, 0, 1)
        if graph.limits_logits:
            bind_logits_to_keep(self._run.binding, 1)
        self.taken = False

    def __call__(self, column: Tokens, mask: Tokens) -> Floats:
        """Logits [batch, vocabulary] after a column [batch, 1], which is the last of the mask's."""
        inputs = self._graph.token_inputs(column, mask)
        self._mask[:] = 0
        self._mask[:, : mask.shape[1]] = mask
        return self._run({**inputs, "attention_mask": self._mask})[:, 0].astype(np.float32, copy=False)

    def release(self) -> None:
        """Let another batch use the buffers."""
        self.taken = False


class StepPool:
    """Fixed steps for each size of batch and capacity that occurs, each used by one batch at a time.

    >>> steps = pool.take(batch=1, tokens=200, new_tokens=64)  # None: not worth a graph, or none is free
    """

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        graph: CausalGraph,
        vocabulary: int,
        longest: int,
        device: str,
    ) -> None:
        self._session = session
        self._graph = graph
        self._vocabulary = vocabulary
        self._longest = longest
        self._device = device
        self._known: dict[tuple[int, int], FixedSteps] = {}

    def take(self, batch: int, tokens: int, new_tokens: int) -> FixedSteps | None:
        """Steps for a batch of so many tokens, `new_tokens` of them to come; its user releases them."""
        if new_tokens < LEAST_STEPS:
            return None
        key = (batch, min(self._longest, max(LEAST_CAPACITY, 1 << (tokens - 1).bit_length())))
        steps = self._known.get(key)
        if steps is None and len(self._known) < MOST_GRAPHS:
            # 0 is the graph of runs that name none.
            number = str(len(self._known) + 1)
            steps = FixedSteps(self._session, self._graph, self._vocabulary, *key, self._device, number)
            self._known[key] = steps
        if steps is None or steps.taken:
            return None
        steps.taken = True
        return steps

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """Batch and capacity of what was recorded."""
        return list(self._known)
