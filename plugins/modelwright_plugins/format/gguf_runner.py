"""Runs a GGUF file in llama.cpp. Imports neither torch nor transformers."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np

from modelwright.api.component import installed_version
from modelwright.api.model import Model
from modelwright.api.runner import Floats, Inputs, Tokens
from modelwright.api.target import Target
from modelwright.errors import MissingError, StageError
from modelwright_plugins.gguf.context import CHUNK, Context, Contexts, Token
from modelwright_plugins.gguf.header import MODEL_FILE
from modelwright_plugins.gguf.llama_cpp_library import DISTRIBUTION, import_llama_cpp
from modelwright_plugins.text.causal_runner import CausalRunner

ALL_LAYERS = 10_000
# Bytes of a number in the cache; Q8_0 stores 32 of them with a scale of two bytes.
CACHE_ITEM_BYTES = {"f32": 4.0, "f16": 2.0, "bf16": 2.0, "q8_0": 34 / 32}


class GGUFRunner(CausalRunner):
    """llama.cpp with the target's threads; each row of a batch is a sequence of its own, without padding.

    `spec.details["cache_precision"]` is the type of the KV cache: `f16` (llama.cpp's default), `bf16`,
    `q8_0`, or `f32`, with which attention is computed in float32 too; `spec.details["flash_attention"]` says
    whether it is fused where llama.cpp can. On CUDA all layers are offloaded, where
    the installed llama.cpp was built for it.
    """

    def __init__(self, model: Model, target: Target) -> None:
        super().__init__(model)
        self.library = import_llama_cpp()
        self._threads = target.thread_count
        self._cache = str(model.spec.details.get("cache_precision") or "f16")
        self._fused = self._cache != "f32" and model.spec.details.get("flash_attention") is not False
        self.cache_item_bytes = CACHE_ITEM_BYTES[self._cache]
        self.max_batch = int(self.library.llama_max_parallel_sequences())
        if target.device != "cpu" and not self.library.llama_supports_gpu_offload():
            raise MissingError(
                f"The installed llama.cpp was built for the CPU, not '{target.device}'.",
                where="target.device",
                accepted="cpu",
                hint="choose target=cpu, or build llama-cpp-python with CMAKE_ARGS=-DGGML_CUDA=on",
            )
        options = self.library.llama_model_default_params()
        options.n_gpu_layers = 0 if target.device == "cpu" else ALL_LAYERS
        file = model.path / MODEL_FILE
        self._model = self.library.llama_model_load_from_file(str(file).encode(), options)
        if not self._model:
            raise StageError(
                "llama.cpp does not load the model.",
                where=str(file),
                hint="its reason is in the log; an older llama.cpp may not know the architecture",
            )
        self._contexts = Contexts(self.library, self._model, self._threads, self._cache, fused=self._fused)
        weakref.finalize(self, _free, self.library, self._model, self._contexts)
        tokens = self.library.llama_vocab_n_tokens(self.library.llama_model_get_vocab(self._model))
        if tokens != self.generation.vocabulary:
            raise StageError(
                f"The file has {tokens} tokens, and the model's description {self.generation.vocabulary}.",
                where=str(file),
            )

    def all_logits(self, inputs: Inputs) -> Floats:
        """Logits at every position, some hundred tokens at a time."""
        batch, length = inputs["input_ids"].shape
        result = np.zeros((batch, length, self.generation.vocabulary), np.float32)
        padding = length - inputs["attention_mask"].sum(axis=1)
        context = self._context(batch, length, outputs=CHUNK)
        for chunk in _chunks(_tokens(inputs, every=True)):
            rows = [token.row for token in chunk]
            result[rows, [token.position + padding[token.row] for token in chunk]] = context.run(chunk)
        return result

    def start(self, inputs: Inputs, new_tokens: int) -> GGUFDecoder:
        """Run the prompts into a new context."""
        self.check_room(inputs, new_tokens)
        batch, length = inputs["input_ids"].shape
        return GGUFDecoder(self, self._context(batch, length + new_tokens, outputs=batch), inputs)

    def _context(self, rows: int, length: int, outputs: int) -> Context:
        return Context(self._contexts, self.generation.vocabulary, rows, length, outputs)

    def describe(self) -> dict[str, str]:
        """Runtime, what the file is, threads, type of the cache and the CPU's instructions in use."""
        system = self.library.llama_print_system_info().decode()
        return {
            "runtime": f"llama.cpp {self.library.llama_version().decode()} "
            f"(llama-cpp-python {installed_version(DISTRIBUTION)})",
            "model": self._described(),
            "threads": str(self._threads),
            "cache": self._cache,
            "attention": "fused where llama.cpp can" if self._fused else "plain",
            "instructions": system.replace(" = 1 |", ",").strip(" ,"),
        }

    def _described(self) -> str:
        buffer = ctypes.create_string_buffer(256)
        self.library.llama_model_desc(self._model, buffer, len(buffer))
        return buffer.value.decode()


class GGUFDecoder:
    """A batch in llama.cpp with its cache."""

    def __init__(self, runner: GGUFRunner, context: Context, inputs: Inputs) -> None:
        self._runner = runner  # the model must outlive the context
        self._context = context
        self._lengths = inputs["attention_mask"].sum(axis=1)
        self.logits = np.empty((context.rows, context.vocabulary), np.float32)
        for chunk in _chunks(_tokens(inputs, every=False)):
            self.logits[[token.row for token in chunk if token.wanted]] = context.run(chunk)

    def step(self, tokens: Tokens) -> Floats:
        """Append one token to each row."""
        chosen = zip(tokens.tolist(), self._lengths.tolist(), strict=True)
        self.logits = self._context.run(
            [Token(row, position, token, True) for row, (token, position) in enumerate(chosen)]
        )
        self._lengths = self._lengths + 1
        return self.logits

    def cache_bytes(self) -> int | None:
        """Bytes of the keys and values of the tokens so far, as llama.cpp would save them.

        It has reserved the whole room beforehand.
        """
        return self._context.state_bytes()


def _tokens(inputs: Inputs, *, every: bool) -> Iterator[Token]:
    """The tokens of a padded batch, row by row; logits wanted of `every` one, or of each row's last."""
    for row, (ids, mask) in enumerate(zip(inputs["input_ids"], inputs["attention_mask"], strict=True)):
        real = ids[mask > 0].tolist()
        for position, token in enumerate(real):
            yield Token(row, position, token, every or position == len(real) - 1)


def _chunks(tokens: Iterable[Token]) -> Iterator[list[Token]]:
    rest = iter(tokens)
    while chunk := list(islice(rest, CHUNK)):
        yield chunk


def _free(library: Any, model: Any, contexts: Contexts) -> None:
    contexts.close()
    library.llama_model_free(model)
