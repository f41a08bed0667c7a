"""The key-value cache's arithmetic, held against what a DynamicCache of transformers holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modelwright.api.anatomy import Anatomy
from modelwright_plugins.anatomy.read import read_anatomy
from tests.plugins.anatomy.configs import TINY_DECODERS
from tests.plugins.anatomy.meta import config_of, torch, transformers

BATCH, LENGTH = 2, 13


def anatomy_of(name: str, folder: Path) -> Anatomy:
    (folder / "config.json").write_text(json.dumps(TINY_DECODERS[name]))
    anatomy = read_anatomy(folder)
    assert anatomy is not None
    return anatomy


@pytest.mark.parametrize("name", TINY_DECODERS)
def test_it_is_what_a_dynamic_cache_holds(name: str, tmp_path: Path):
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(
        config_of(TINY_DECODERS[name]), dtype=torch.float32
    ).eval()
    ids = torch.randint(3, 90, (BATCH, LENGTH))
    with torch.inference_mode():
        layers = model(ids, use_cache=True).past_key_values.layers
    held = sum(layer.keys.nbytes + layer.values.nbytes for layer in layers)
    anatomy = anatomy_of(name, tmp_path)
    # Between two steps transformers keeps one token less than the window: the next one completes it.
    spared = sum(cache.elements for cache in anatomy.caches if cache.window and cache.window <= LENGTH)
    elements = anatomy.cache_elements(BATCH, LENGTH) - BATCH * spared
    assert 4 * elements * anatomy.shape.cache_copies == held
    assert anatomy.shape.layers == len(layers)


def test_only_falcon_caches_more_than_its_architecture_asks_for(tmp_path: Path):
    copies = {name: anatomy_of(name, tmp_path).shape.cache_copies for name in TINY_DECODERS}
    assert {name for name, count in copies.items() if count > 1} == {"falcon", "falcon-one-norm"}


def test_windows_stop_growing(tmp_path: Path):
    anatomy = anatomy_of("gemma3", tmp_path)
    assert anatomy.windowed_layers == (0, 1, 2, 3, 4, 6)
    assert anatomy.sliding_window == 8
    per_layer = 2 * 2 * 16
    assert anatomy.cache_elements(1, 100) == per_layer * (6 * 8 + 100)
    assert anatomy.cache_elements(1, 5) == per_layer * 7 * 5


def test_latent_attention_keeps_one_vector_for_all_heads(tmp_path: Path):
    assert anatomy_of("deepseek_v3", tmp_path).cache_elements_per_token == 3 * (16 + 8)
