"""Runs a causal language model in ONNX Runtime. Imports neither torch nor onnx."""

from __future__ import annotations

import weakref
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np

from modelwright.api.model import Model
from modelwright.api.runner import Decoder, Floats, Inputs
from modelwright.api.target import Target
from modelwright.errors import RecipeError
from modelwright_plugins.format.onnx_causal_cache import DEVICES, CacheBuffers, CacheKind
from modelwright_plugins.format.onnx_causal_graph import CausalGraph
from modelwright_plugins.format.onnx_causal_probe import (
    ROOM,
    difference,
    find_padding,
    full_logits,
    gives_all_positions,
)
from modelwright_plugins.format.onnx_decoder import OnnxDecoder, Padding, SeparateRows
from modelwright_plugins.format.onnx_fixed_steps import FixedSteps, StepPool
from modelwright_plugins.format.onnx_session import describe_session, open_session
from modelwright_plugins.text.causal_runner import CausalRunner
from modelwright_plugins.text.padding_side import is_padded, pad_left_again, pad_right, split_rows

if TYPE_CHECKING:
    import onnxruntime

FUSED = "compile.onnxruntime with variant=fused makes graphs that count tokens by the mask's sum."


class OnnxCausalRunner(CausalRunner):
    """One session and one copy of the weights for prompts and for what follows.

    >>> OnnxCausalRunner(model, Target(threads=2)).generate(["def add(a, b):"], max_new_tokens=32)

    Small runs decide, once: whether keys and values stay in one buffer that attention appends to (`shared`)
    or go to and fro between two (`ping-pong`), which `cache` forces; where the target asks for CUDA graphs,
    or with `fixed_steps`, whether shapes can stay as they are while the text grows; and, at the first batch
    with padding, on which side the graph takes it. A graph whose GroupQueryAttention counts positions by the
    mask's sum wants it on the right; one that bears neither runs the rows one by one.
    """

    def __init__(
        self, model: Model, target: Target, cache: CacheKind | None = None, *, fixed_steps: bool = False
    ) -> None:
        super().__init__(model)
        self._target = target
        self._device = DEVICES.get(target.provider, "cpu")
        self._unrecorded: str | None = None
        self._session = self._open(model)
        self._graph = CausalGraph.read(self._session, self.generation, model.path)
        self.cache_item_bytes = self._graph.caches[0].dtype.itemsize
        self._all_positions = gives_all_positions(self._session, self._graph, self.generation)
        self.steps: StepPool | None = None
        self.cache: CacheKind = cache or self._find_cache()
        if (target.graph_capture or fixed_steps) and self._unrecorded is None:
            self._find_steps(model)

    def all_logits(self, inputs: Inputs) -> Floats:
        """Logits at every position, without keeping a cache.

        A graph that gives only the last position's is run token by token.
        """
        if not self._all_positions:
            return self._logits_by_steps(inputs)
        if not is_padded(inputs) or self.padding == "left":
            return self._full_logits(inputs)
        if self.padding == "right":
            return pad_left_again(self._full_logits(pad_right(inputs)), inputs)
        return self._logits_by_rows(inputs)

    def start(self, inputs: Inputs, new_tokens: int) -> Decoder:
        """Run the prompts into new buffers."""
        self.check_room(inputs, new_tokens)
        if not is_padded(inputs):
            return self._start(inputs, new_tokens, "left")
        if self.padding is not None:
            return self._start(inputs, new_tokens, self.padding)
        return SeparateRows([self._start(row, new_tokens, "left") for row in split_rows(inputs)])

    def describe(self) -> dict[str, str]:
        """Runtime, provider, threads, the kind of cache and how padded batches run."""
        padded = {"left": "padded on the left", "right": "padded on the right", None: "row by row"}
        described = {
            **describe_session(self.spec, self._target),
            "cache": self.cache,
            "unequal rows": padded[self.padding],
        }
        if self.steps is not None:
            described["CUDA graphs"] = self.steps.describe()
        if self._unrecorded is not None:
            unrecorded = f"Tokens do not run as CUDA graphs. {self._unrecorded}"
            described["note"] = " ".join(filter(None, (described.get("note"), unrecorded)))
        return described

    @cached_property
    def padding(self) -> Padding | None:
        """The side on which the graph bears padding; None where rows have to run one by one."""
        if self.spec.max_length < ROOM:
            return None
        # Logits at a row's own last token are needed where padding follows it.
        sides: tuple[Padding, ...] = ("left", "right") if self._all_positions else ("left",)
        return find_padding(self._session, self._graph, self.generation, self._start, sides)

    def _open(self, model: Model) -> onnxruntime.InferenceSession:
        """With its kernels recorded, where the target asks for it and the graph allows it."""
        if self._target.graph_capture:
            try:
                return open_session(model, self._target, graph_capture=True)
            except RecipeError as error:
                if error.where != "target.graph_capture":
                    raise
                self._unrecorded = error.what
        return open_session(model, self._target)

    def _find_cache(self) -> CacheKind:
        if self.spec.max_length < ROOM:
            return "ping-pong"

        def start(inputs: Inputs, new_tokens: int) -> Decoder:
            return self._start(inputs, new_tokens, "left", "shared", quiet=True)

        differs = difference(self._session, self._graph, self.generation, start)
        return "shared" if differs is None else "ping-pong"

    def _find_steps(self, model: Model) -> None:
        """Take steps of fixed shapes where the graph bears a mask that is longer than the text."""
        if self.cache != "shared":
            self._unrecorded = f"Attention does not append to its cache in place. {FUSED}"
            return
        vocabulary = self.generation.vocabulary
        make = partial(FixedSteps, self._session, self._graph, vocabulary=vocabulary, device=self._device)
        self.steps = StepPool(make, self.spec.max_length)

        def start(inputs: Inputs, new_tokens: int) -> Decoder:
            return self._start(inputs, new_tokens, "left", quiet=True)

        if differs := difference(self._session, self._graph, self.generation, start):
            self._unrecorded = f"With a mask as long as its cache {differs}. {FUSED}"
            self.steps = None
            if self._target.graph_capture:
                self._session = open_session(model, self._target)

    def _start(
        self,
        inputs: Inputs,
        new_tokens: int,
        padding: Padding,
        cache: CacheKind | None = None,
        *,
        quiet: bool = False,
    ) -> OnnxDecoder:
        batch, length = inputs["input_ids"].shape
        kind = cache or self.cache
        pool = self.steps if kind == "shared" else None
        room = length + new_tokens
        steps = pool.take(batch, room, new_tokens) if pool else None
        decoder = OnnxDecoder(
            self._session,
            self._graph,
            inputs,
            steps.buffers if steps else CacheBuffers(kind, self._graph, batch, room, self._device),
            vocabulary=self.generation.vocabulary,
            padding=padding,
            all_positions=self._all_positions,
            quiet=quiet,
            steps=steps,
        )
        if pool is not None and steps is not None:
            weakref.finalize(decoder, pool.give_back, steps)
        return decoder

    def _full_logits(self, inputs: Inputs) -> Floats:
        return full_logits(self._session, self._graph, inputs).astype(np.float32, copy=False)

    def _logits_by_steps(self, inputs: Inputs) -> Floats:
        result = self._no_logits(inputs)
        for index, row in enumerate(split_rows(inputs)):
            tokens = row["input_ids"]
            start = result.shape[1] - tokens.shape[1]
            first = {name: array[:, :1] for name, array in row.items()}
            decoder = self._start(first, tokens.shape[1] - 1, "left")
            result[index, start] = decoder.logits[0]
            for column in range(1, tokens.shape[1]):
                result[index, start + column] = decoder.step(tokens[:, column])[0]
        return result

    def _logits_by_rows(self, inputs: Inputs) -> Floats:
        result = self._no_logits(inputs)
        for index, row in enumerate(split_rows(inputs)):
            logits = self._full_logits(row)[0]
            result[index, -len(logits) :] = logits
        return result

    def _no_logits(self, inputs: Inputs) -> Floats:
        return np.zeros((*inputs["input_ids"].shape, self.generation.vocabulary), np.float32)
