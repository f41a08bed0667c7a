from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from modelwright.api.model import Model
from modelwright.errors import RecipeError
from modelwright_plugins.export.gguf import ExportGGUF
from modelwright_plugins.format.torch import Torch
from tests.plugins.stage_context import FolderContext


@pytest.fixture
def export_gguf(tmp_path: Path) -> Callable[..., Model]:
    """Exports a model, in F32 unless `type` says otherwise."""

    def run(model: Model, **parameters: Any) -> Model:
        return FolderContext(tmp_path / f"export-{len(list(tmp_path.iterdir()))}").apply(
            ExportGGUF.model_validate({"type": "F32", **parameters}), model
        )

    return run


@pytest.fixture
def changed_causal(tiny_causal: Model, tmp_path: Path) -> Callable[..., Model]:
    """The tiny Llama with another config.json, other tensors, or both."""

    def change(
        config: Mapping[str, Any] | None = None,
        tensors: Callable[[dict[str, NDArray[Any]]], Mapping[str, NDArray[Any]]] | None = None,
    ) -> Model:
        folder = shutil.copytree(tiny_causal.path, tmp_path / f"changed-{len(list(tmp_path.iterdir()))}")
        file = folder / "config.json"
        values = {**json.loads(file.read_text()), **(config or {})}
        file.write_text(json.dumps({key: value for key, value in values.items() if value is not None}))
        if tensors is not None:
            weights = folder / "model.safetensors"
            save_file(dict(tensors(load_file(weights))), weights)
        try:
            spec = Torch().describe(folder)
        except RecipeError:  # the plan refuses it already; the stage has to as well
            spec = tiny_causal.spec
        return Model(folder, spec, "")

    return change


@pytest.fixture
def sharded_causal(tiny_causal: Model, tmp_path: Path) -> Model:
    """The tiny Llama with its weights in two files."""
    folder = shutil.copytree(tiny_causal.path, tmp_path / "sharded")
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    shards = {"model-1.safetensors": names[:9], "model-2.safetensors": names[9:]}
    for file, chosen in shards.items():
        save_file({name: tensors[name] for name in chosen}, folder / file)
    index = {"weight_map": {name: file for file, chosen in shards.items() for name in chosen}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return Model(folder, tiny_causal.spec, "")
