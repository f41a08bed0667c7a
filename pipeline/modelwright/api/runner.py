"""How a model is run, whatever its format: one protocol for each task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Inputs = Mapping[str, NDArray[np.int64]]
Floats = NDArray[np.float32]
Tokens = NDArray[np.int64]


@runtime_checkable
class Runner(Protocol):
    """A loaded model, ready to run in its deployment runtime.

    `sample` makes token inputs of a given shape (`batch` × `length`, no padding) and `infer` runs them, as
    measuring speed does. `run` takes texts: pooled embeddings of shape [n, dim] for an embedding model,
    logits of shape [n, labels] for a classifier, the logits of the token that comes next, of shape
    [n, vocabulary], for a model that generates; float32 in the order given.
    """

    def sample(self, batch: int, length: int, seed: int = 0) -> Inputs:
        """Random token ids of shape [batch, length] with a full attention mask."""
        ...

    def infer(self, inputs: Inputs) -> Floats:
        """One forward pass; what `run` returns for one batch."""
        ...

    def run(self, texts: Sequence[str], batch_size: int = 32) -> Floats:
        """Tokenize, batch by length, infer and return the rows in the order of `texts`."""
        ...

    def describe(self) -> dict[str, str]:
        """What really runs: runtime and version, provider, threads, attention implementation."""
        ...


@runtime_checkable
class EmbeddingRunner(Runner, Protocol):
    """A runner of task `embed`."""

    def embed(self, texts: Sequence[str], batch_size: int = 32) -> Floats:
        """Embeddings of shape [n, dim]."""
        ...


@runtime_checkable
class ClassificationRunner(Runner, Protocol):
    """A runner of task `classify`."""

    def classify(self, texts: Sequence[str], batch_size: int = 32) -> list[str]:
        """The most likely label of each text."""
        ...


class Decoder(Protocol):
    """A batch that is being generated: its KV cache, and the logits of the token that comes next."""

    logits: Floats
    """Of shape [batch, vocabulary], after the prompt or the last `step`; overwritten by the next."""

    def step(self, tokens: Tokens) -> Floats:
        """Append one token to each row, tokens of shape [batch]; the new `logits`."""
        ...

    def cache_bytes(self) -> int | None:
        """Bytes the runtime holds for keys and values now, read off its buffers; None where it won't tell."""
        ...


@runtime_checkable
class GenerationRunner(Runner, Protocol):
    """A runner of task `generate`.

    Batches of prompts are padded on the left; `attention_mask` of shape [batch, length] says what counts.
    `max_batch` is the most rows the runtime takes at once; None where there is no limit.
    """

    max_batch: int | None

    @property
    def cache_item_bytes(self) -> float | None:
        """Bytes of one number in the KV cache; None where the runtime does not tell."""
        ...

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, in full length."""
        ...

    def batch(self, rows: Sequence[Sequence[int]]) -> Inputs:
        """Inputs of shape [batch, longest row], padded on the left."""
        ...

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of token ids, without special tokens."""
        ...

    def logits(self, inputs: Inputs) -> Floats:
        """Logits at every position, of shape [batch, length, vocabulary]; those of padding mean nothing."""
        ...

    def loss(self, inputs: Inputs) -> Floats:
        """Negative log-likelihood in nats of each token but the first, of shape [batch, length - 1].

        A token whose predecessor is padding has none: 0.
        """
        ...

    def start(self, inputs: Inputs, new_tokens: int) -> Decoder:
        """Run the prompts (prefill) with room for `new_tokens` more.

        Raises RecipeError when the two together are longer than the context.
        """
        ...

    def generate(
        self,
        texts: Sequence[str],
        max_new_tokens: int = 64,
        *,
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float = 1.0,
        seed: int = 0,
        use_cache: bool = True,
    ) -> list[str]:
        """Continue each text until it ends or `max_new_tokens` are there; greedy at temperature 0."""
        ...
