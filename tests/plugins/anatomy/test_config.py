"""Figures that cannot be those of a model are refused, with the file and the key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modelwright.errors import RecipeError
from modelwright_plugins.anatomy.families import FAMILIES
from modelwright_plugins.anatomy.read import read_anatomy
from tests.plugins.anatomy.configs import ENCODERS, GROUPED, TINY, TINY_DECODERS

LLAMA = {"model_type": "llama", **GROUPED}
ALL = {**TINY_DECODERS, **ENCODERS}


def refused(folder: Path, values: object) -> RecipeError:
    (folder / "config.json").write_text(values if isinstance(values, str) else json.dumps(values))
    with pytest.raises(RecipeError) as caught:
        read_anatomy(folder)
    assert caught.value.exit_code == 2
    assert str(folder / "config.json") in str(caught.value.where)
    return caught.value


@pytest.mark.parametrize("key", ["hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size",
                                 "intermediate_size", "num_key_value_heads", "head_dim"])  # fmt: skip
@pytest.mark.parametrize("value", [0, -4, 2.5, "32", True, [32], 10**12], ids=repr)
def test_a_figure_that_is_no_count(key: str, value: object, tmp_path: Path):
    error = refused(tmp_path, {**LLAMA, key: value})
    assert error.what == f"config.json gives {key} as {value!r}."
    assert f"key {key}" in str(error.where)


@pytest.mark.parametrize("name", ALL)
def test_more_layers_than_could_be_written_down(name: str, tmp_path: Path):
    key = next(key for key in ("num_hidden_layers", "n_layer", "n_layers") if key in ALL[name])
    error = refused(tmp_path, {**ALL[name], key: 10**6})
    assert error.accepted == "a whole number from 1 to 10,000"


@pytest.mark.parametrize("key", ["hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size"])
def test_a_figure_that_is_missing(key: str, tmp_path: Path):
    error = refused(tmp_path, {name: value for name, value in LLAMA.items() if name != key})
    assert error.what == f"config.json says no {key}."


@pytest.mark.parametrize("kind", FAMILIES)
def test_every_family_refuses_an_empty_config(kind: str, tmp_path: Path):
    assert "config.json says no " in refused(tmp_path, {"model_type": kind}).what


@pytest.mark.parametrize(
    "name", [n for n in ALL if "head_dim" not in ALL[n] and not n.startswith("deepseek")]
)
def test_heads_that_do_not_divide(name: str, tmp_path: Path):
    key = next(key for key in ("num_attention_heads", "n_head", "n_heads") if key in ALL[name])
    error = refused(tmp_path, {**ALL[name], key: 5, "num_key_value_heads": 5})
    assert error.what == "5 attention heads do not divide the hidden size 32."


@pytest.mark.parametrize("name", ["llama", "mistral", "qwen2", "gemma", "mixtral"])
def test_key_value_heads_that_do_not_divide(name: str, tmp_path: Path):
    error = refused(tmp_path, {**TINY_DECODERS[name], "num_key_value_heads": 3})
    assert error.what == "4 query heads cannot share 3 key-value heads evenly."


def test_falcon_names_its_key_value_heads_otherwise(tmp_path: Path):
    error = refused(tmp_path, {**TINY_DECODERS["falcon"], "num_kv_heads": 3})
    assert "key num_kv_heads" in str(error.where)


@pytest.mark.parametrize("kind", ["mistral", "mixtral", "qwen2", "qwen3", "gemma", "gemma2", "smollm3",
                                  "starcoder2", "stablelm", "qwen2_moe", "qwen3_moe"])  # fmt: skip
def test_families_whose_default_would_be_a_guess_need_their_key_value_heads(kind: str, tmp_path: Path):
    case = next(values for values in TINY_DECODERS.values() if values["model_type"] == kind)
    error = refused(tmp_path, {key: value for key, value in case.items() if key != "num_key_value_heads"})
    assert error.what.startswith("config.json says no num_key_value_heads")
    assert "num_key_value_heads: 4 is plain multi-head attention" in str(error.accepted)


@pytest.mark.parametrize("kind", ["llama", "granite", "olmo", "phi3", "phi"])
def test_families_that_default_to_multi_head_attention(kind: str, tmp_path: Path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind, **TINY}))
    anatomy = read_anatomy(tmp_path)
    assert anatomy is not None
    assert anatomy.shape.kv_heads == anatomy.shape.heads == 4
    assert anatomy.cache_elements_per_token == 2 * 2 * 32


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"tie_word_embeddings": "yes"}, "config.json gives tie_word_embeddings as 'yes'."),
        ({"architectures": "LlamaForCausalLM"}, "config.json gives architectures as 'LlamaForCausalLM'."),
        ({"rope_parameters": [1]}, "config.json gives rope_parameters as [1]."),
    ],
)
def test_values_of_another_kind(change: dict[str, Any], what: str, tmp_path: Path):
    assert refused(tmp_path, {**LLAMA, **change}).what == what


def test_layer_types_for_another_number_of_layers(tmp_path: Path):
    values = {**TINY_DECODERS["gemma2"], "layer_types": ["full_attention"]}
    assert refused(tmp_path, values).what == "config.json gives 1 layer types for 2 layers."


@pytest.mark.parametrize("text", ["", "{", "[]", "3"])
def test_a_config_that_is_no_json_object(text: str, tmp_path: Path):
    refused(tmp_path, text)


def test_a_config_without_a_type(tmp_path: Path):
    assert refused(tmp_path, TINY).what.startswith("config.json says no model_type")


@pytest.mark.parametrize("kind", [7, ["llama"], {"a": 1}], ids=repr)
def test_a_type_that_is_no_word(kind: object, tmp_path: Path):
    assert "is not known" in refused(tmp_path, {**LLAMA, "model_type": kind}).what
