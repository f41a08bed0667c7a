"""The files that hold a checkpoint's weights."""

from __future__ import annotations

from pathlib import Path

from modelwright.errors import RecipeError
from modelwright_plugins.format.json_file import read_json

INDEX = "model.safetensors.index.json"
# What belongs to a checkpoint beside its weights; code only where it is trusted.
BESIDE_WEIGHTS, CODE = ("*.json", "*.txt", "*.model", "*.jinja"), "*.py"
PICKLED = ("pytorch_model*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


def weight_files(path: Path) -> list[Path]:
    """The safetensors files of a checkpoint. Raises RecipeError for a pickled checkpoint or none at all."""
    files = sorted(path.glob("*.safetensors"))
    if files:
        index = weight_index(path)
        absent = sorted(set(index.values()) - {file.name for file in files})
        if absent:
            raise RecipeError(
                f"The checkpoint lacks {', '.join(absent)}.",
                where=str(path),
                accepted="every file that model.safetensors.index.json names",
                hint="download the checkpoint again",
            )
        # What the index does not name is another copy of the weights.
        return [file for file in files if not index or file.name in index.values()]
    pickled = [file.name for pattern in PICKLED for file in sorted(path.glob(pattern))]
    if pickled:
        raise RecipeError(
            f"The weights are pickled ({', '.join(pickled)}); loading a pickle can run any code.",
            where=str(path),
            accepted="safetensors",
            hint="convert it where you trust it: AutoModel.from_pretrained(folder).save_pretrained(folder) "
            "writes model.safetensors; then remove the pickled file",
        )
    raise RecipeError(
        "The folder holds no weights.", where=str(path), accepted="model.safetensors (or its shards)"
    )


def weight_index(path: Path) -> dict[str, str]:
    """The file of each tensor by the folder's index; nothing where there is none. Raises RecipeError."""
    file = path / INDEX
    if not file.is_file():
        return {}
    index = read_json(file).get("weight_map")
    if not isinstance(index, dict) or not all(isinstance(name, str) for name in index.values()):
        raise RecipeError(
            "The checkpoint's index does not say which file holds which tensor.",
            where=f"{file}, key weight_map",
            accepted='{"the tensor\'s name": "the file\'s name"}',
            hint="download the checkpoint again",
        )
    return index
