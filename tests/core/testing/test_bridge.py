from __future__ import annotations

import pytest

from modelwright.api.stage import Stage
from modelwright.errors import RecipeError
from modelwright.registry import Registry
from modelwright.testing.bridge import find_bridge


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry.load()


def test_a_stage_that_takes_a_checkpoint_needs_nothing_before_it(registry: Registry) -> None:
    assert find_bridge(registry, registry.stages["export.onnx"]) == {}


def test_the_export_comes_before_a_stage_that_takes_onnx(registry: Registry) -> None:
    bridge = find_bridge(registry, registry.stages["quantize.onnx_dynamic"])
    assert [step["use"] for step in bridge.values()] == ["export.onnx"]


def test_a_tag_that_is_needed_is_made(registry: Registry) -> None:
    class Polish(Stage, name="polish", takes="onnx", gives="onnx", needs=("int8",)):
        """Takes a quantized graph only."""

    bridge = find_bridge(registry, Polish)
    assert [step["use"] for step in bridge.values()] == ["export.onnx", "quantize.onnx_dynamic"]


def test_a_format_nobody_makes_is_refused_with_the_way_out(registry: Registry) -> None:
    class Lost(Stage, name="lost", takes="stone-tablet", gives="onnx"):
        """Takes what no stage gives."""

    with pytest.raises(RecipeError, match="makes what 'lost' takes: stone-tablet"):
        find_bridge(registry, Lost)
