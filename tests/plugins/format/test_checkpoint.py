"""What a checkpoint folder says of itself, and what is refused before anything is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modelwright.errors import RecipeError, StageError
from modelwright.testing.tiny_causal import write_tiny_causal
from modelwright_plugins.export.onnx import ExportOnnx
from modelwright_plugins.format.checkpoint import describe_checkpoint
from modelwright_plugins.format.torch import Torch
from tests.plugins.stage_context import FolderContext
from tests.plugins.tiny_llama import change_json, open_checkpoint


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tiny_causal(tmp_path / "checkpoint")


def refused(folder: Path, words: str) -> RecipeError:
    with pytest.raises(RecipeError, match=words) as caught:
        describe_checkpoint(folder, trust_remote_code=False)
    return caught.value


@pytest.mark.parametrize("index", [{}, {"weight_map": []}, {"weight_map": {"model.norm.weight": 3}}])
def test_an_index_that_maps_nothing(folder: Path, index: dict[str, Any]) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    error = refused(folder, "does not say which file holds which tensor")
    assert str(error.where).endswith("model.safetensors.index.json, key weight_map")


@pytest.mark.parametrize("value", [None, [], "LlamaForCausalLM", [7]])
def test_a_class_that_is_not_named(folder: Path, value: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "architectures": value}))
    assert "key architectures" in str(refused(folder, "gives architectures as").where)


def test_weights_that_are_quantized_already(folder: Path) -> None:
    change_json(folder / "config.json", quantization_config={"quant_method": "gptq", "bits": 4})
    assert "key quantization_config" in str(refused(folder, "quantized already").where)


def test_no_tokenizer(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs the torch extra")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(RecipeError, match="transformers makes no fast tokenizer of this checkpoint"):
        FolderContext(tmp_path / "run").apply(ExportOnnx(), open_checkpoint(folder))
    (folder / "tokenizer_config.json").unlink()
    with pytest.raises(RecipeError, match="The checkpoint has no tokenizer"):
        FolderContext(tmp_path / "again").apply(ExportOnnx(), open_checkpoint(folder))


def test_layers_past_those_of_the_configuration(folder: Path) -> None:
    Torch().check(folder)
    change_json(folder / "config.json", num_hidden_layers=1)
    with pytest.raises(RecipeError, match=r"hold 'layers.1\..*', and config.json's last layer is 0"):
        Torch().check(folder)
    change_json(folder / "config.json", num_nextn_predict_layers=1)
    Torch().check(folder)


@pytest.mark.parametrize("change", [{"hidden_act": "nonsense"}, {"rope_scaling": {"rope_type": "banana"}}])
def test_what_transformers_does_not_know(folder: Path, tmp_path: Path, change: dict[str, Any]) -> None:
    pytest.importorskip("torch", reason="needs the torch extra")
    change_json(folder / "config.json", **change)
    model = open_checkpoint(folder)
    with pytest.raises(RecipeError, match="transformers does not load the checkpoint: KeyError") as caught:
        FolderContext(tmp_path / "run").apply(ExportOnnx(), model)
    assert str(caught.value.where) == str(folder / "config.json")


def test_angles_that_change_while_a_text_grows(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs the torch extra")
    change_json(folder / "config.json", rope_scaling={"rope_type": "dynamic", "factor": 2.0})
    with pytest.raises(StageError, match="frequencies of rope_type dynamic change") as caught:
        FolderContext(tmp_path / "run").apply(ExportOnnx(), open_checkpoint(folder))
    assert "key rope_scaling" in str(caught.value.where)
