"""Running small ONNX models in tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from modelwright.api.model import Model
from modelwright.api.target import Target
from modelwright.testing.texts import sentences
from modelwright_plugins.format.onnx import Onnx
from modelwright_plugins.format.onnx_graph import save_graph
from modelwright_plugins.text.companions import copy_companions

TEXTS = [*sentences(14, seed=7), "a", " ".join(["file"] * 50)]


def outputs(model: Model, texts: list[str] = TEXTS, batch_size: int = 8) -> np.ndarray:
    return Onnx().runner(model, Target(threads=1)).run(texts, batch_size)


def cosines(one: Model, other: Model, batch_size: int = 8) -> np.ndarray:
    a, b = (outputs(model, batch_size=batch_size) for model in (one, other))
    return (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def as_model(graph: object, like: Model, folder: Path) -> Model:
    """A changed graph as a model folder."""
    folder.mkdir(parents=True)
    save_graph(graph, folder)  # type: ignore[arg-type]
    copy_companions(like.path, folder)
    like.spec.write(folder)
    return Model.open(folder)
