"""Runs a llama2.c model in NumPy, to validate the file. Imports neither torch nor transformers."""

from __future__ import annotations

import numpy as np

from modelwright.api.model import Model
from modelwright.api.runner import Floats, Inputs, Tokens
from modelwright.api.target import Target
from modelwright.errors import MissingError
from modelwright_plugins.llama2c.forward import KeyValueCache, Transformer
from modelwright_plugins.llama2c.layout import Header
from modelwright_plugins.llama2c.read import MODEL_FILE, Weights
from modelwright_plugins.text.causal_runner import CausalRunner
from modelwright_plugins.text.steps import append_tokens


class Llama2cRunner(CausalRunner):
    """The arithmetic of run.c (versions 0 and 1) and runq.c (version 2) over the memory-mapped file.

    It says what a program that reads the file computes, and nothing of how fast: version 2's weights become
    float32 anew in each product. Of runq.c it keeps that activations are rounded to 8 bits as well.
    """

    def __init__(self, model: Model, target: Target) -> None:
        if target.device != "cpu":
            raise MissingError(
                f"The llama2.c runner serves the CPU, not '{target.device}'.",
                where="target.device",
                accepted="cpu",
                hint="choose target=cpu, or a recipe whose format runs on CUDA (onnx, torch)",
            )
        super().__init__(model)
        self.transformer = Transformer(Weights(model.path / MODEL_FILE))

    def all_logits(self, inputs: Inputs) -> Floats:
        """Logits at every position, in one pass."""
        ids = inputs["input_ids"]
        cache = KeyValueCache(self.transformer.header, *ids.shape)
        return self.transformer.classify(self.transformer.hidden(ids, inputs["attention_mask"], cache))

    def start(self, inputs: Inputs, new_tokens: int) -> Llama2cDecoder:
        """Run the prompts into a new cache."""
        self.check_room(inputs, new_tokens)
        batch, length = inputs["input_ids"].shape
        cache = KeyValueCache(self.transformer.header, batch, length + new_tokens)
        return Llama2cDecoder(self.transformer, inputs, cache)

    def describe(self) -> dict[str, str]:
        """What computes, in which arithmetic, and that its speed is not llama2.c's."""
        return {
            "runtime": f"modelwright's runner of llama2.c files, NumPy {np.__version__}",
            "purpose": "validation; its speed says nothing of llama2.c's",
            "device": "cpu",
            "dtype": _arithmetic(self.transformer.header),
            "threads": "those of NumPy's BLAS",
            "cache": "float32, allocated for prompt and new tokens",
        }


class Llama2cDecoder:
    """A batch with its cache."""

    def __init__(self, transformer: Transformer, inputs: Inputs, cache: KeyValueCache) -> None:
        self._transformer = transformer
        self._cache = cache
        self._mask = inputs["attention_mask"]
        self.logits = self._forward(inputs["input_ids"])

    def step(self, tokens: Tokens) -> Floats:
        """Append one token to each row."""
        column, self._mask = append_tokens(self._mask, tokens)
        self.logits = self._forward(column)
        return self.logits

    def cache_bytes(self) -> int | None:
        """Bytes of keys and values, with the room for tokens to come."""
        return self._cache.nbytes

    def _forward(self, ids: Tokens) -> Floats:
        return self._transformer.classify(self._transformer.hidden(ids, self._mask, self._cache)[:, -1])


def _arithmetic(header: Header) -> str:
    if header.version == 2:
        return f"int8 weights and activations in groups of {header.group_size}, summed in float32"
    return "float32"
