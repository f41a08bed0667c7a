"""Steps of one token whose shapes do not grow with the text, so that CUDA graphs can replay them."""

from __future__ import annotations

from collections.abc import Callable
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
# Sessions never forget a graph. Buffers that no batch uses are kept for the next one of their size.
MOST_GRAPHS, MOST_IDLE = 64, 4


class FixedSteps:
    """Steps of batches of one size, in a cache of one capacity.

    >>> steps = FixedSteps(session, graph, vocabulary=2048, batch=1, capacity=64, device="cuda", number="1")
    >>> steps(column, mask).shape  # once the prompt is in steps.buffers; mask: at most 64 columns
    (1, 2048)

    The mask is given a column for each place of the cache, zero where nothing is yet: a graph that counts
    tokens by its mask's sum, and appends where they end, gives the logits that it gives for the text alone.
    """

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        graph: CausalGraph,
        *,
        vocabulary: int,
        batch: int,
        capacity: int,
        device: str,
        number: str,
    ) -> None:
        self.shape = (batch, capacity)
        self._graph = graph
        self._mask = np.zeros(self.shape, np.int64)
        inputs = graph.token_inputs(np.zeros((batch, 1), np.int64), self._mask)
        self._run = FixedRun(
            session,
            inputs,
            LOGITS,
            shape=(batch, 1, vocabulary),
            dtype=graph.logits_dtype,
            device=device,
            graph=number,
        )
        self.buffers = CacheBuffers("shared", graph, batch, capacity, device)
        self.buffers.bind(self._run.binding, 0, 1)
        if graph.limits_logits:
            bind_logits_to_keep(self._run.binding, 1)
        self.recorded = False

    def __call__(self, column: Tokens, mask: Tokens) -> Floats:
        """Logits [batch, vocabulary] after a column [batch, 1], which is the last of the mask's."""
        inputs = self._graph.token_inputs(column, mask)
        self._mask[:] = 0
        self._mask[:, : mask.shape[1]] = mask
        logits = self._run({**inputs, "attention_mask": self._mask})
        self.recorded = True
        # On the CPU they lie where the next batch's will.
        return logits[:, 0].astype(np.float32)

    def replay(self) -> None:
        """The last step again; its logits stay where they are."""
        self._run.replay()


class StepPool:
    """Fixed steps for batches that are being generated; their buffers serve one batch after the other.

    >>> pool = StepPool(partial(FixedSteps, session, graph, vocabulary=2048, device="cuda"), longest=1024)
    >>> steps = pool.take(batch=1, tokens=200, new_tokens=64)  # None where they are not worth a graph
    >>> pool.give_back(steps)

    The cache of a batch has room for up to twice its tokens, and for 64 at least.
    """

    def __init__(self, make: Callable[..., FixedSteps], longest: int) -> None:
        self._make = make
        self._longest = longest
        self._idle: list[FixedSteps] = []
        self._made = 0
        self._recorded: dict[tuple[int, int], None] = {}
        self._refused = 0

    def take(self, batch: int, tokens: int, new_tokens: int) -> FixedSteps | None:
        """Steps for a batch of so many tokens, `new_tokens` of them to come.

        None, too, where the session has as many graphs as it may.
        """
        if new_tokens < LEAST_STEPS:
            return None
        room = max(LEAST_CAPACITY, 1 << (tokens - 1).bit_length())
        shape = (batch, max(tokens, min(self._longest, room)))
        for steps in reversed(self._idle):
            if steps.shape == shape:
                self._idle.remove(steps)
                return steps
        if self._made == MOST_GRAPHS:
            self._refused += 1
            return None
        self._made += 1
        return self._make(batch=batch, capacity=shape[1], number=str(self._made))

    def give_back(self, steps: FixedSteps) -> None:
        """Let another batch use the buffers; those that were not used for longest are freed."""
        if steps.recorded:
            self._recorded[steps.shape] = None
        self._idle.append(steps)
        del self._idle[:-MOST_IDLE]

    def describe(self) -> str:
        """Batch and room of what was recorded, and how often there was no graph left."""
        shapes = ", ".join(f"{batch}x1 of {room}" for batch, room in self._recorded)
        return shapes + (f"; {self._refused} batches ran without" if self._refused else "")
