"""A runner that needs no runtime: each token's vector is looked up in a table."""

from __future__ import annotations

import dataclasses

import numpy as np

from modelwright.api.model import Model
from modelwright.api.runner import Floats, Inputs
from modelwright_plugins.text.runner import TextRunner

DIM = 16


class LookupRunner(TextRunner):
    """Pools random vectors; every token's is NaN from `broken_from` on."""

    def __init__(self, model: Model, broken_from: int | None = None) -> None:
        super().__init__(model)
        self._table = np.random.default_rng(0).normal(size=(self.tokenizer.vocabulary_size, DIM))
        if broken_from is not None:
            self._table[broken_from:] = np.nan

    def forward(self, inputs: Inputs) -> Floats:
        return self._table[inputs["input_ids"]].astype(np.float32)

    def describe(self) -> dict[str, str]:
        return {"runtime": "NumPy"}


def shorter(model: Model, max_length: int) -> Model:
    """The same model, but for how many tokens it takes."""
    return dataclasses.replace(model, spec=model.spec.model_copy(update={"max_length": max_length}))
