"""Every family's arithmetic, held against the class itself on the meta device: names, shapes, ties."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modelwright_plugins.anatomy.config import Config
from modelwright_plugins.anatomy.families import FAMILIES
from modelwright_plugins.anatomy.layout import Layout, adapted
from tests.plugins.anatomy.configs import ENCODERS, REAL_DECODERS, TINY_DECODERS
from tests.plugins.anatomy.meta import (
    BARE,
    CAUSAL,
    CLASSIFIER,
    WORDS,
    buffer_bytes,
    meta_model,
    parameter_shapes,
)

DECODERS = {**TINY_DECODERS, **REAL_DECODERS}
BARE_OR_CLASSIFIER = ("llama", "gpt2", "gpt_bigcode", "bloom", "falcon", "mpt", "opt-narrow", "mixtral")


def layout_of(values: dict[str, Any], model: Any) -> Layout:
    config = Config({**values, "architectures": [type(model).__name__]}, Path("config.json"))
    return adapted(FAMILIES[values["model_type"]](config), config)


def compare(values: dict[str, Any], auto: str) -> None:
    model = meta_model(values, auto)
    layout = layout_of(values, model)
    ours = {
        f"{module.path}.{tensor.name}".lstrip("."): tensor
        for module in layout.modules
        for tensor in module.tensors
    }
    # A tied tensor has two names, and which of them torch lists depends on the order of the modules.
    stands_for = dict(layout.tied)
    theirs = {stands_for.get(name, name): shape for name, shape in parameter_shapes(model).items()}
    assert {name: item.shape for name, item in ours.items() if item.group != "buffer"} == theirs
    assert {
        name: item.elements * (item.item_bytes or 2) for name, item in ours.items() if item.group == "buffer"
    } == buffer_bytes(model)
    assert stands_for == model.all_tied_weights_keys
    unsplit = model._no_split_modules or ()
    assert {module.path for module in layout.modules if module.whole} == {
        name for name, module in model.named_modules() if type(module).__name__ in unsplit
    }


@pytest.mark.parametrize("name", DECODERS)
def test_a_language_model(name: str):
    compare(DECODERS[name], CAUSAL)


@pytest.mark.parametrize("name", BARE_OR_CLASSIFIER)
@pytest.mark.parametrize("auto", [BARE, CLASSIFIER], ids=["bare", "classifier"])
def test_a_decoder_without_its_head(name: str, auto: str):
    compare(DECODERS[name], auto)


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize(
    "auto",
    [BARE, WORDS, CLASSIFIER],
    ids=["bare", "words", "classifier"],
)
def test_an_encoder(name: str, auto: str):
    compare(ENCODERS[name], auto)


def test_every_family_is_compared():
    compared = {values["model_type"] for values in {**DECODERS, **ENCODERS}.values()}
    assert compared == set(FAMILIES)


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma3", "deepseek_v3", "mixtral", "falcon"])
def test_matrices_know_what_they_sum_over(name: str):
    model = meta_model(DECODERS[name], CAUSAL)
    for module in layout_of(DECODERS[name], model).modules:
        for tensor in module.tensors:
            if tensor.group in ("linear", "head"):
                width = tensor.shape[0] if name == "gpt2" and tensor.group == "linear" else tensor.shape[-1]
                assert tensor.inputs == width
