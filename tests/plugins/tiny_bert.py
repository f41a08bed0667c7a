"""The tiny BERT of `modelwright.testing` as a model, for tests that run one stage in this process."""

from __future__ import annotations

from pathlib import Path

from modelwright.api.model import Model, Task
from modelwright.digest import digest_folder
from modelwright.testing.tiny_model import write_tiny_model
from modelwright_plugins.format.torch import Torch


def save_tiny_bert(folder: Path, task: Task = "embed", seed: int = 0) -> Model:
    """Write it; embeddings are not normalized, so that a wrong length shows."""
    write_tiny_model(folder, task, seed)
    spec = Torch().describe(folder).model_copy(update={"normalize": False})
    return Model(folder, spec, digest_folder(folder))
