"""How a model is run, whatever its format: one protocol for each task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Inputs = Mapping[str, NDArray[np.int64]]
Floats = NDArray[np.float32]


@runtime_checkable
class Runner(Protocol):
    """A loaded model, ready to run in its deployment runtime.

    `sample` makes token inputs of a given shape (`batch` × `length`, no padding) and `infer` runs them, as
    measuring speed does. `run` takes texts: pooled embeddings of shape [n, dim] for an embedding model,
    logits of shape [n, labels] for a classifier; float32 in the order given.
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
