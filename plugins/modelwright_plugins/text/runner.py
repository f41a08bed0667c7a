"""The runner of a text encoder, but for its forward pass."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from modelwright.api.model import Model
from modelwright.api.runner import Floats, Inputs
from modelwright.errors import RecipeError
from modelwright_plugins.text.finite import require_finite
from modelwright_plugins.text.pooling import pool
from modelwright_plugins.text.tokenize import TextTokenizer


class TextRunner(ABC):
    """Tokenizes, batches by length, pools; a format's runner adds `forward` and `describe`.

    Serves both tasks: an embedding model gives pooled vectors of shape [n, dim], a classifier logits of
    shape [n, labels].
    """

    def __init__(self, model: Model) -> None:
        self.spec = model.spec
        self.tokenizer = TextTokenizer(model.path, model.spec.max_length)

    @abstractmethod
    def forward(self, inputs: Inputs) -> Floats:
        """Token vectors of shape [batch, length, dim] (task `embed`) or logits [batch, labels]."""

    @abstractmethod
    def describe(self) -> dict[str, str]:
        """What really runs."""

    def sample(self, batch: int, length: int, seed: int = 0) -> Inputs:
        """Random token ids of shape [batch, length]."""
        return self.tokenizer.sample(batch, length, seed)

    def infer(self, inputs: Inputs) -> Floats:
        """One forward pass, pooled for an embedding model."""
        output = self.forward(inputs)
        if self.spec.task == "embed":
            return pool(output, inputs["attention_mask"], self.spec.pooling, self.spec.normalize)
        return output

    def run(self, texts: Sequence[str], batch_size: int = 32) -> Floats:
        """Rows in the order of `texts`; batches hold texts of similar length, so that little is padded.

        Raises StageError when a row holds NaN or infinity, which no metric could judge.
        """
        order = np.argsort(np.array(self.tokenizer.lengths(texts)), kind="stable")
        rows: list[Floats] = []
        for start in range(0, len(order), batch_size):
            rows.append(self.infer(self.tokenizer([texts[i] for i in order[start : start + batch_size]])))
        joined = np.concatenate(rows).astype(np.float32, copy=False)
        result = np.empty_like(joined)
        result[order] = joined
        require_finite(result, self.spec.format, self.spec.dtype)
        return result

    def embed(self, texts: Sequence[str], batch_size: int = 32) -> Floats:
        """Embeddings of shape [n, dim]."""
        self._require("embed")
        return self.run(texts, batch_size)

    def classify(self, texts: Sequence[str], batch_size: int = 32) -> list[str]:
        """The most likely label of each text."""
        self._require("classify")
        return [self.spec.labels[i] for i in self.run(texts, batch_size).argmax(axis=1)]

    def _require(self, task: str) -> None:
        if self.spec.task != task:
            raise RecipeError(
                f"This model's task is '{self.spec.task}', not '{task}'.", accepted="run(texts) serves both"
            )
