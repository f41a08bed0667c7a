"""The engine of a folder that fits a GPU."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from modelwright.errors import MissingError
from modelwright.planning.gpu import Gpu
from modelwright_plugins.format.engines import Engine, Engines
from modelwright_plugins.format.fitting_engine import engine_for, loads


def table(**fields: object) -> Engines:
    return Engines(engines=(Engine.model_validate({"library": "tensorrt", "version": "11.0", **fields}),))


@pytest.mark.parametrize(
    ("fields", "capability"),
    [
        ({}, "7.5"),
        ({"compute_capabilities": ["8.9", "12.0"]}, "12.0"),
        ({"compute_capabilities": ["8.0"], "hardware_compatible": True}, "9.0"),
    ],
)
def test_it_is_found(fields: dict[str, object], capability: str) -> None:
    assert engine_for(Gpu("a GPU", capability), table(**fields)).version == "11.0"


@pytest.mark.parametrize(
    ("fields", "capability"),
    [
        ({"compute_capabilities": ["8.9"]}, "9.0"),
        ({"compute_capabilities": ["8.0"], "hardware_compatible": True}, "7.5"),
    ],
)
def test_another_gpu_than_it_was_built_for_is_refused(fields: dict[str, object], capability: str) -> None:
    with pytest.raises(MissingError, match=f"and this GPU has {capability}"):
        engine_for(Gpu("a GPU", capability), table(**fields))


@pytest.mark.parametrize(
    ("compatible", "version", "fits"),
    [
        (False, "11.0", True),
        (False, "11.0.1", False),
        (True, "11.2.0.5", True),
        (True, "10.16", False),
        (True, "12.0", False),
    ],
)
def test_a_version_that_loads_it(compatible: bool, version: str, fits: bool) -> None:
    assert loads(table(version_compatible=compatible).engines[0], version) is fits


@pytest.mark.parametrize(
    "fields",
    [
        *({"file": file} for file in ("../model.engine", "/etc/passwd", "")),
        {"version": "eleven"},
        {"size": -1},
        {"operators": {"Attention": -6}},
        {"profiles": [{"batch": [3, 2, 1]}]},
    ],
)
def test_what_no_engine_says_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        table(**fields)
