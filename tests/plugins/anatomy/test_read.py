"""Folders as they come: weights that agree with their config, weights that do not, and none at all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from modelwright.errors import RecipeError
from modelwright.testing.tiny_model import write_tiny_model
from modelwright_plugins.anatomy.read import read_anatomy
from modelwright_plugins.format.torch import Torch
from tests.plugins.anatomy.configs import TINY_DECODERS
from tests.plugins.anatomy.meta import config_of, torch, transformers

SAVED = (
    "llama",
    "llama-tied",
    "gpt2",
    "gpt_bigcode",
    "bloom",
    "falcon",
    "mpt",
    "opt-narrow",
    "phi",
    "gemma3",
    "mixtral",
    "qwen2_moe",
    "deepseek_v3",
)


def save(name: str, folder: Path, **options: Any) -> Path:
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config_of(TINY_DECODERS[name]), dtype=torch.float32)
    model.save_pretrained(folder, **options)
    return folder


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save("llama", tmp_path_factory.mktemp("llama"))


@pytest.fixture
def folder(llama: Path, tmp_path: Path) -> Path:
    """A llama checkpoint to change."""
    return Path(shutil.copytree(llama, tmp_path / "checkpoint"))


def rewrite_config(folder: Path, *without: str, **changes: Any) -> None:
    file = folder / "config.json"
    config = {**json.loads(file.read_text()), **changes}
    file.write_text(json.dumps({key: value for key, value in config.items() if key not in without}))


def rewrite_weights(folder: Path, *without: str, **added: np.ndarray) -> None:
    tensors = {**load_file(folder / "model.safetensors"), **added}
    save_file({k: v for k, v in tensors.items() if k not in without}, folder / "model.safetensors")


def refused(folder: Path) -> RecipeError:
    with pytest.raises(RecipeError) as caught:
        read_anatomy(folder)
    return caught.value


@pytest.mark.parametrize("name", SAVED)
def test_a_saved_checkpoint_agrees_with_its_config(name: str, tmp_path: Path):
    anatomy = Torch().anatomy(save(name, tmp_path))
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert anatomy is not None
    assert anatomy.notes == ()
    assert anatomy.parameters == model.num_parameters()
    assert anatomy.stored_bytes >= 4 * model.num_parameters()
    assert anatomy.dtype == "float32"
    assert anatomy.architecture == type(model).__name__


@pytest.mark.parametrize("task", ["embed", "classify"])
def test_a_checkpoint_of_an_encoder(task: Any, tmp_path: Path):
    folder = write_tiny_model(tmp_path / "tiny", task)
    anatomy = Torch().anatomy(folder)
    assert anatomy is not None
    assert anatomy.parameters == Torch().size(folder).parameters
    assert anatomy.caches == ()


def test_shards_count_together(tmp_path: Path):
    folder = save("llama", tmp_path, max_shard_size="40KB")
    assert len(list(folder.glob("*.safetensors"))) > 2
    whole, sharded = save("llama", tmp_path / "whole"), read_anatomy(folder)
    assert sharded == read_anatomy(whole)


@pytest.mark.parametrize("index", [True, False], ids=["with-index", "without-index"])
def test_a_missing_shard_is_named(index: bool, tmp_path: Path):
    folder = save("llama", tmp_path, max_shard_size="40KB")
    gone = sorted(folder.glob("*.safetensors"))[1]
    gone.unlink()
    if not index:
        (folder / "model.safetensors.index.json").unlink()
    error = refused(folder)
    assert f"shards: {gone.name}." in error.what
    assert error.exit_code == 2


def test_all_shards_missing_is_no_folder_without_weights(tmp_path: Path):
    folder = save("llama", tmp_path, max_shard_size="40KB")
    for file in folder.glob("*.safetensors"):
        file.unlink()
    assert "shards" in refused(folder).what


def test_an_index_of_another_checkpoint(tmp_path: Path):
    folder = save("llama", tmp_path, max_shard_size="40KB")
    file = folder / "model.safetensors.index.json"
    index = json.loads(file.read_text())
    index["weight_map"]["model.extra"] = sorted(index["weight_map"].values())[0]
    file.write_text(json.dumps(index))
    assert "'model.extra'" in refused(folder).what


def test_a_shard_cut_short(tmp_path: Path):
    folder = save("llama", tmp_path, max_shard_size="40KB")
    shard = sorted(folder.glob("*.safetensors"))[0]
    shard.write_bytes(shard.read_bytes()[:-8])
    assert "cut short" in refused(folder).what


def test_no_key_value_heads_in_the_config_of_grouped_weights(folder: Path):
    rewrite_config(folder, "num_key_value_heads")
    error = refused(folder)
    assert "'layers.0.self_attn.k_proj.weight' is 16×32 in the weights" in error.what
    assert "implies 32×32" in error.what
    assert "num_key_value_heads (which is missing)" in str(error.hint)


def test_a_head_said_to_be_free_that_is_not_stored(tmp_path: Path):
    folder = save("llama-tied", tmp_path)
    rewrite_config(folder, tie_word_embeddings=False)
    error = refused(folder)
    assert "hold no lm_head" in error.what
    assert "tie_word_embeddings" in str(error.where)


def test_a_head_said_to_be_tied_that_is_stored_counts(folder: Path):
    before = read_anatomy(folder)
    rewrite_config(folder, tie_word_embeddings=True)
    anatomy = read_anatomy(folder)
    assert anatomy is not None
    assert before is not None
    assert anatomy.parameters == before.parameters
    assert anatomy.tied == ()
    assert "ties lm_head.weight to the embedding, and the weights hold one of its own" in anatomy.notes[0]


def test_weights_that_lack_a_tensor(folder: Path):
    rewrite_weights(folder, "model.layers.1.mlp.up_proj.weight")
    assert "layers.1.mlp.up_proj.weight" in refused(folder).what


def test_weights_of_more_layers_than_the_config_says_are_told(folder: Path):
    rewrite_config(folder, num_hidden_layers=1)
    anatomy = read_anatomy(folder)
    assert anatomy is not None
    assert "9 tensors are in the weights that this architecture does not have" in anatomy.notes[0]
    assert anatomy.parameters == Torch().size(folder).parameters


def test_fewer_experts_than_the_config_says(tmp_path: Path):
    folder = save("mixtral", tmp_path)
    rewrite_config(folder, num_local_experts=8)
    assert "implies" in refused(folder).what


def test_two_copies_of_the_weights(folder: Path):
    shutil.copy(folder / "model.safetensors", folder / "consolidated.safetensors")
    assert "lies in two files" in refused(folder).what


def test_pickled_weights_are_refused(folder: Path):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert "pickled" in refused(folder).what


def test_a_type_that_is_not_known_is_counted_from_its_weights(folder: Path):
    known = read_anatomy(folder)
    rewrite_config(folder, model_type="llamma")
    anatomy = read_anatomy(folder)
    assert anatomy is not None
    assert known is not None
    assert anatomy.groups == known.groups
    assert anatomy.shape.layers == 2
    assert anatomy.shape.hidden is None
    assert "its cache and its activations are not known" in anatomy.notes[0]


def test_a_type_that_is_not_known_without_weights(folder: Path):
    (folder / "model.safetensors").unlink()
    rewrite_config(folder, model_type="llamma")
    error = refused(folder)
    assert "'llamma' is not known" in error.what
    assert error.hint == "did you mean 'llama'?"
    assert "mixtral" in str(error.accepted)


def test_quantized_weights_are_not_compared_shape_by_shape(folder: Path):
    rewrite_weights(folder, "lm_head.weight", **{"lm_head.qweight": np.zeros((4, 4), np.int32)})
    rewrite_config(folder, quantization_config={"quant_method": "gptq", "bits": 4})
    anatomy = read_anatomy(folder)
    assert anatomy is not None
    assert "stored quantized" in anatomy.notes[0]
    assert anatomy.groups["head"] == 96 * 32


def test_a_folder_without_a_config(tmp_path: Path):
    assert read_anatomy(tmp_path) is None
