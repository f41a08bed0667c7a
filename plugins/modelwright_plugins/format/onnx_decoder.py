"""Batches that are being generated in ONNX Runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from modelwright.api.runner import Decoder, Floats, Inputs, Tokens
from modelwright_plugins.format.onnx_capture import run_options
from modelwright_plugins.format.onnx_causal_cache import CacheBuffers
from modelwright_plugins.format.onnx_causal_graph import LOGITS, CausalGraph, bind_logits_to_keep
from modelwright_plugins.format.onnx_fixed_steps import FixedSteps
from modelwright_plugins.text.padding_side import last_columns, pad_right
from modelwright_plugins.text.steps import append_tokens

if TYPE_CHECKING:
    import onnxruntime

Padding = Literal["left", "right"]


class OnnxDecoder:
    """One batch with its buffers: prefill and decode of one session, everything bound in place.

    `padding` is the side that the graph wants; prompts come padded on the left. `all_positions` says that
    the graph gives logits at every position, of which only the last of each row are kept; a graph that can
    is told to compute none before the first of those. `quiet` keeps ONNX Runtime from reporting a run that
    fails. `steps`, whose buffers are the batch's, run what comes after the prompt.
    """

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        graph: CausalGraph,
        inputs: Inputs,
        buffers: CacheBuffers,
        *,
        vocabulary: int,
        padding: Padding = "left",
        all_positions: bool = True,
        quiet: bool = False,
        steps: FixedSteps | None = None,
    ) -> None:
        self._steps = steps
        self._session = session
        self._graph = graph
        self._buffers = buffers
        self._binding = session.io_binding()
        self._options = run_options()
        if quiet:
            self._options.log_severity_level = 4
        shifted = pad_right(inputs) if padding == "right" else inputs
        self._mask = shifted["attention_mask"]
        batch, length = self._mask.shape
        self._next = np.empty((batch, 1, vocabulary), graph.logits_dtype)
        columns = last_columns(self._mask)
        given = length if all_positions else 1
        if graph.limits_logits:
            given = length - int(columns.min())
            bind_logits_to_keep(self._binding, given)
        # Bound for the prompt alone, so that logits at every position are not held while decoding.
        prompt = np.empty((batch, given, vocabulary), graph.logits_dtype) if given > 1 else self._next
        self._bind_logits(prompt)
        self._run(shifted["input_ids"], 0)
        places = columns - (length - given) if given > 1 else 0
        self.logits: Floats = prompt[np.arange(batch), places].astype(np.float32, copy=False)
        if graph.limits_logits:
            bind_logits_to_keep(self._binding, 1)
        self._bind_logits(self._next)

    def step(self, tokens: Tokens) -> Floats:
        """Append one token to each row."""
        past = self._mask.shape[1]
        column, self._mask = append_tokens(self._mask, tokens)
        if self._steps is not None:
            self.logits = self._steps(column, self._mask)
            return self.logits
        self._run(column, past)
        self.logits = self._next[:, 0].astype(np.float32, copy=False)
        return self.logits

    def cache_bytes(self) -> int | None:
        """Bytes of the buffers, which are allocated for prompt and new tokens at once."""
        return self._buffers.nbytes

    def _run(self, ids: Tokens, past: int) -> None:
        self._buffers.bind(self._binding, past, ids.shape[1])
        for name, array in self._graph.token_inputs(ids, self._mask).items():
            self._binding.bind_cpu_input(name, array)
        self._session.run_with_iobinding(self._binding, self._options)

    def _bind_logits(self, array: np.ndarray) -> None:
        pointer = array.ctypes.data
        self._binding.bind_output(LOGITS, "cpu", 0, array.dtype.type, array.shape, pointer)


class SeparateRows:
    """A batch of one decoder for each row, where a graph cannot take rows of unequal length at once."""

    def __init__(self, decoders: list[Decoder]) -> None:
        self._decoders = decoders
        self.logits: Floats = np.concatenate([decoder.logits for decoder in decoders])

    def step(self, tokens: Tokens) -> Floats:
        """Append one token to each row."""
        for index, decoder in enumerate(self._decoders):
            self.logits[index] = decoder.step(tokens[index : index + 1])[0]
        return self.logits

    def cache_bytes(self) -> int | None:
        """Bytes of all rows together; None where one does not tell."""
        sizes = [decoder.cache_bytes() for decoder in self._decoders]
        return sum(size for size in sizes if size is not None) if None not in sizes else None
