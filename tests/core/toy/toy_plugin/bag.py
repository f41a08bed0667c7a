"""A bag of word vectors: one embedding table and a tokenizer."""

from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from modelwright import Format, Model, ModelSize, ModelSpec, RecipeError, Target
from modelwright_plugins.text.runner import TextRunner

WORDS = [
    "read",
    "write",
    "open",
    "close",
    "file",
    "path",
    "name",
    "value",
    "list",
    "number",
    "string",
    "error",
    "call",
    "return",
    "raise",
    "each",
    "item",
]
WEIGHTS = "table.safetensors"


class BagRunner(TextRunner):
    """Looks token vectors up."""

    def __init__(self, model: Model, target: Target) -> None:
        super().__init__(model)
        self.table = load_file(model.path / WEIGHTS)["table"]

    def forward(self, inputs):
        return self.table[inputs["input_ids"] % len(self.table)]

    def describe(self):
        return {"runtime": "NumPy"}


class Bag(Format, name="bag"):
    """A table of word vectors."""

    def recognises(self, path: Path) -> bool:
        return (path / WEIGHTS).is_file()

    def describe(self, path: Path, *, trust_remote_code: bool = False) -> ModelSpec:
        return ModelSpec(format="bag", task="embed", architecture="Bag", pooling="mean", max_length=64)

    def check(self, path: Path, *, deep: bool = False) -> None:
        if not (path / WEIGHTS).is_file():
            raise RecipeError("The folder has no table.", where=str(path))
        if deep and not np.isfinite(load_file(path / WEIGHTS)["table"]).all():
            raise RecipeError("The table holds NaN.", where=str(path / WEIGHTS))

    def size(self, path: Path) -> ModelSize:
        table = load_file(path / WEIGHTS)["table"]
        return ModelSize(parameters=table.size, weight_bytes=table.nbytes)

    def runs_here(self, target: Target) -> bool:
        """Not what is made for the GPUs of other machines."""
        return not target.compute_capabilities

    def runner(self, model: Model, target: Target) -> BagRunner:
        return BagRunner(model, target)


def write_bag(folder: Path, rows: int = 64, seed: int = 0) -> Path:
    """A model folder of that format."""
    folder.mkdir(parents=True)
    vocabulary = {word: index for index, word in enumerate(["[UNK]", "[PAD]", *WORDS])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    table = np.random.default_rng(seed).normal(size=(rows, 16)).astype(np.float32)
    save_file({"table": table}, folder / WEIGHTS)
    return folder
