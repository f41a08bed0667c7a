"""Placement by arithmetic, held against accelerate's and transformers' own on models without memory."""

from __future__ import annotations

import random
import warnings
from typing import Any

import pytest

from modelwright.api.anatomy import Anatomy
from modelwright.planning.device_map import Device, device_map, device_use
from tests.plugins.anatomy.configs import ENCODERS, REAL_DECODERS, TINY_DECODERS
from tests.plugins.anatomy.meta import BARE, meta_model
from tests.plugins.anatomy.test_families import layout_of

accelerate = pytest.importorskip("accelerate", reason="needs the cpu extra")
loading = pytest.importorskip("transformers.integrations.accelerate", reason="needs the cpu extra")

REAL = {name: REAL_DECODERS[name] for name in ("smollm-135m", "tinyllama-1.1b", "gemma-2b", "opt-350m")}
DECODERS = {**TINY_DECODERS, **REAL}
DRAWS = 6


def anatomy_of(values: dict[str, Any], model: Any) -> Anatomy:
    layout = layout_of(values, model)
    return Anatomy(architecture="", model_type="", dtype="bfloat16", modules=layout.modules, tied=layout.tied)


def drawn_limits(total: int, seed: int) -> dict[Device, int]:
    """Zero to three GPUs, some too small for a layer, and a processor that may be too small as well."""
    random_ = random.Random(seed)
    limits: dict[Device, int] = {
        gpu: int(total * random_.uniform(0.02, 0.9)) for gpu in range(random_.randint(0, 3))
    }
    limits["cpu"] = int(total * random_.uniform(0.05, 1.2))
    return limits


def total_bytes(model: Any) -> int:
    return sum(tensor.nbytes for tensor in [*model.parameters(), *model.buffers()])


def of_accelerate(model: Any, limits: dict[Device, int]) -> dict[str, Device]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about buffers of what is moved off
        return dict(
            accelerate.infer_auto_device_map(
                model, dict(limits), no_split_module_classes=sorted(model._no_split_modules or ())
            )
        )


@pytest.mark.parametrize("name", DECODERS)
def test_it_is_the_map_of_accelerate(name: str):
    model = meta_model(DECODERS[name])
    anatomy = anatomy_of(DECODERS[name], model)
    for seed in range(DRAWS):
        limits = drawn_limits(total_bytes(model), seed)
        assert device_map(anatomy, "bf16", limits, balanced=False) == of_accelerate(model, limits), limits


@pytest.mark.parametrize("name", DECODERS)
def test_balanced_it_is_the_map_that_auto_gives(name: str):
    model = meta_model(DECODERS[name])
    anatomy = anatomy_of(DECODERS[name], model)
    for seed in range(DRAWS):
        limits = drawn_limits(total_bytes(model), seed)
        theirs = loading._get_device_map(model, "auto", dict(limits), None)
        assert device_map(anatomy, "bf16", limits) == theirs, limits


@pytest.mark.parametrize("name", ENCODERS)
def test_an_encoders_parameters_lie_where_accelerate_puts_them(name: str):
    """Parts without parameters, such as dropout, are not written down and so not named."""
    model = meta_model(ENCODERS[name], BARE)
    anatomy = anatomy_of(ENCODERS[name], model)
    for seed in range(DRAWS):
        limits = drawn_limits(total_bytes(model), seed)
        ours = device_map(anatomy, "bf16", limits, balanced=False)
        theirs = of_accelerate(model, limits)
        for parameter, _ in model.named_parameters():
            assert home(ours, parameter) == home(theirs, parameter), (parameter, limits)


def home(placed: dict[str, Device], name: str) -> Device:
    while name not in placed:
        assert name, "no entry covers the parameter"
        name = name.rpartition(".")[0]
    return placed[name]


@pytest.mark.parametrize("name", ["llama-tied", "opt-narrow", "deepseek_v3", "gpt2"])
def test_the_bytes_of_each_device_are_those_of_the_tensors_on_it(name: str):
    model = meta_model(DECODERS[name])
    anatomy = anatomy_of(DECODERS[name], model)
    total = total_bytes(model)
    limits: dict[Device, int] = {0: total // 2, 1: total // 3, "cpu": total // 3}
    placed = device_map(anatomy, "bf16", limits, balanced=False)
    expected: dict[Device, int] = {}
    for parameter, tensor in [*model.named_parameters(), *model.named_buffers()]:
        device = home(placed, parameter)
        expected[device] = expected.get(device, 0) + tensor.nbytes
    assert {
        device: count for device, count in device_use(anatomy, "bf16", placed).items() if count
    } == expected


def test_fewer_bits_need_fewer_devices():
    model = meta_model(REAL["tinyllama-1.1b"])
    anatomy = anatomy_of(REAL["tinyllama-1.1b"], model)
    limits: dict[Device, int] = {0: 10**9, "cpu": 10**10}
    assert set(device_map(anatomy, "bf16", limits).values()) == {0, "cpu"}
    assert device_map(anatomy, "int4", limits) == {"": 0}
