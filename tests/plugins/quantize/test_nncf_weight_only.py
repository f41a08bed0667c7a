from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from modelwright.api.dataset import Record
from modelwright.api.model import Model, ModelSize
from modelwright.api.runner import GenerationRunner
from modelwright.api.target import Target
from modelwright.errors import RecipeError
from modelwright.testing.conformance import StageConformance
from modelwright.testing.texts import sentences
from modelwright_plugins.export.openvino import ExportOpenVINO
from modelwright_plugins.format.openvino import OpenVINO
from modelwright_plugins.format.openvino_ir import read_graph
from modelwright_plugins.quantize.nncf_weight_only import QuantizeNNCFWeightOnly
from tests.plugins.stage_context import FolderContext

pytest.importorskip("nncf", reason="needs nncf")

MIB = 2**20
GPTQ = {"mode": "int4_sym", "gptq": True, "data": "docs"}
RECORDS = [Record(text=text) for text in sentences(12, seed=5)]


@pytest.fixture(scope="module")
def exported(tiny_causal: Model, tmp_path_factory: pytest.TempPathFactory) -> Model:
    stage = ExportOpenVINO(inference_precision="f32", cache_precision="f32")
    return FolderContext(tmp_path_factory.mktemp("export")).apply(stage, tiny_causal)


def logits(model: Model) -> np.ndarray:
    runner: GenerationRunner = OpenVINO().runner(model, Target(threads=1))  # type: ignore[assignment]
    return runner.logits(runner.sample(4, 24, seed=1))


def quantized(exported: Model, factory: pytest.TempPathFactory, **parameters: object) -> Model:
    ctx = FolderContext(factory.mktemp("quantize"), data={("docs", "calibration"): RECORDS})
    return ctx.apply(QuantizeNNCFWeightOnly(**parameters), exported)  # type: ignore[arg-type]


def error(exported: Model, other: Model) -> float:
    return float(np.abs(logits(other) - logits(exported)).mean())


def types(model: Model) -> set[str]:
    return {c.element_type for c in read_graph(model.path).constants if c.elements > 1000}


@pytest.mark.parametrize(
    ("parameters", "width", "stage", "measured"),
    [
        (134_515_008, 4, {"mode": "int4_asym"}, 990),
        (134_515_008, 4, {"mode": "int8_asym"}, 1028),
        (134_515_008, 4, GPTQ, 1965),
        (1_100_048_384, 2, {"mode": "int4_asym"}, 3135),
        (1_100_048_384, 2, {"mode": "int8_asym"}, 3522),
    ],
)
def test_memory_is_predicted_as_it_was_measured(
    parameters: int, width: int, stage: dict[str, Any], measured: int
) -> None:
    """Peak resident memory of the step in MiB, on Llama shapes in float32 and in bfloat16."""
    size = ModelSize(parameters=parameters, weight_bytes=width * parameters)
    predicted = QuantizeNNCFWeightOnly.model_validate(stage).footprint(size).memory_bytes
    assert abs(predicted / MIB / measured - 1) < 0.2


def test_eight_bits_stay_close_and_four_take_half_the_space(
    exported: Model, tmp_path_factory: pytest.TempPathFactory
) -> None:
    eight = quantized(exported, tmp_path_factory, mode="int8_asym")
    four = quantized(exported, tmp_path_factory, mode="int4_asym", group_size=32, all_layers=True)
    assert types(eight) == {"u8"}
    assert types(four) == {"u4"}
    assert error(exported, eight) < error(exported, four) / 5
    sizes = [OpenVINO().size(model.path).weight_bytes for model in (exported, eight, four)]
    assert sizes[0] > 3.4 * sizes[1]
    assert sizes[1] > 1.3 * sizes[2]
    assert four.spec.dtype == "int4"


def test_embeddings_and_head_keep_eight_bits_unless_asked(
    exported: Model, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert types(quantized(exported, tmp_path_factory, mode="int4_sym", group_size=32)) == {"i4", "u8"}


def test_smaller_groups_are_closer(exported: Model, tmp_path_factory: pytest.TempPathFactory) -> None:
    errors = [
        error(exported, quantized(exported, tmp_path_factory, mode="int4_asym", group_size=size))
        for size in (64, 16)
    ]
    assert errors[1] < errors[0]


def test_calibrated_methods_run_and_change_the_weights(
    exported: Model, tmp_path_factory: pytest.TempPathFactory
) -> None:
    plain = quantized(exported, tmp_path_factory, mode="int4_asym", group_size=32)
    fitted = quantized(
        exported, tmp_path_factory, mode="int4_asym", group_size=32, scale_estimation=True, data="docs"
    )
    assert not np.array_equal(logits(plain), logits(fitted))


def test_an_operator_can_be_left_out(exported: Model, tmp_path_factory: pytest.TempPathFactory) -> None:
    kept = quantized(exported, tmp_path_factory, mode="int8_asym", ignore=("*mlp.down_proj",))
    assert types(kept) == {"u8", "f32"}


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"gptq": True}, "gptq needs data"),
        ({"awq": True, "data": "docs", "mode": "int8_sym"}, "awq improves 4-bit weights"),
        ({"mode": "int5"}, "int4_sym"),
        ({"group_size": 3}, "greater than or equal to 16"),
    ],
)
def test_wrong_parameters_are_refused(parameters: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        QuantizeNNCFWeightOnly(**parameters)  # type: ignore[arg-type]


def test_a_pattern_that_matches_nothing_is_refused(
    exported: Model, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with pytest.raises(RecipeError, match=r"No operator of the graph is called 'layers\.9\.\*'"):
        quantized(exported, tmp_path_factory, ignore=("layers.9.*",))


class TestConformance(StageConformance):
    stage = QuantizeNNCFWeightOnly
    parameters = {"mode": "int8_asym"}  # noqa: RUF012
    task = "generate"
