"""Checkpoints of a training that survive a kill: whole or not there at all, and without pickles."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors.torch import load_file, save_file

from modelwright.digest import digest_file
from modelwright.store.atomic import new_folder
from modelwright_plugins.training.history import History

if TYPE_CHECKING:
    import torch

PREFIX = "step-"
BEST = "best-"
TENSORS = "tensors.safetensors"
HISTORY = "history.json"
DIGESTS = "sha256.json"

Tensors = Mapping[str, "torch.Tensor"]


class Checkpoints:
    """The last checkpoint of a folder and the best weights so far.

    ::

        FOLDER/step-0000200/{tensors.safetensors, history.json}     all that the next step depends on
        FOLDER/best-0000150/tensors.safetensors                     weights alone
        FOLDER/*/sha256.json                                        the digest of each file beside it

    A step's batch and random numbers are functions of the seed and the step, so that neither a position in
    the data nor a generator's state has to be kept beside the step.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, tensors: Tensors, history: History) -> None:
        """Write a checkpoint, then remove those before it."""
        name = f"{PREFIX}{history.step:07d}"
        self._replace(name, tensors, history)
        self._remove_others(PREFIX, {name})
        self._remove_others(BEST, _best_of(history))

    def save_best(self, tensors: Tensors, step: int) -> None:
        """Write the weights of a step that is the best so far; that of the last checkpoint stays with it."""
        name = _best(step)
        self._replace(name, tensors)
        last = self.last()
        self._remove_others(BEST, {name} | (_best_of(_history(last)) if last else set()))

    def last(self) -> Path | None:
        """The newest checkpoint."""
        return max(self._folder.glob(f"{PREFIX}*"), default=None)

    def damage(self, checkpoint: Path, *, with_best: bool) -> str | None:
        """Which folder is not as it was written, the checkpoint's or its best weights'; None: neither."""
        if not _is_unchanged(checkpoint):
            return checkpoint.name
        best = _best_of(_history(checkpoint)) if with_best else set()
        return next((name for name in best if not _is_unchanged(self._folder / name)), None)

    def load(self, checkpoint: Path) -> tuple[Tensors, History]:
        """What a checkpoint holds, on the CPU."""
        return load_file(checkpoint / TENSORS), _history(checkpoint)

    def remove(self) -> None:
        """Remove all checkpoints."""
        self._remove_others(PREFIX, set())
        self._remove_others(BEST, set())

    def load_best(self, step: int) -> Tensors:
        """The weights that `save_best` kept of a step."""
        return load_file(self._folder / _best(step) / TENSORS)

    def _remove_others(self, prefix: str, kept: set[str]) -> None:
        for folder in self._folder.glob(f"{prefix}*"):
            if folder.name not in kept:
                shutil.rmtree(folder)

    def _replace(self, name: str, tensors: Tensors, history: History | None = None) -> None:
        final = self._folder / name
        with new_folder(final, self._folder / "tmp") as folder:
            save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, folder / TENSORS)
            if history is not None:
                (folder / HISTORY).write_text(history.model_dump_json(), encoding="utf-8")
            digests = {file.name: digest_file(file) for file in sorted(folder.iterdir())}
            (folder / DIGESTS).write_text(json.dumps(digests), encoding="utf-8")
            if final.exists():  # of a run that was killed after it
                shutil.rmtree(final)


def _is_unchanged(checkpoint: Path) -> bool:
    """Whether every file is as it was written; one that cannot be read raises OSError."""
    try:
        digests = json.loads((checkpoint / DIGESTS).read_bytes())
        return TENSORS in digests and all(
            digest_file(checkpoint / name) == digest for name, digest in digests.items()
        )
    except (FileNotFoundError, ValueError, TypeError, AttributeError):
        return False


def _best(step: int) -> str:
    return f"{BEST}{step:07d}"


def _best_of(history: History) -> set[str]:
    return {_best(history.best.step)} if history.best else set()


def _history(checkpoint: Path) -> History:
    return History.model_validate_json((checkpoint / HISTORY).read_bytes())
