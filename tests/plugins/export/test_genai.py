from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from modelwright.api.model import Model, ModelSize
from modelwright.api.target import Target
from modelwright.errors import RecipeError
from modelwright.testing.conformance import StageConformance
from modelwright_plugins.export.genai import ExportGenAI
from modelwright_plugins.format.genai import GenAI
from modelwright_plugins.format.torch import Torch
from tests.plugins.stage_context import FolderContext

pytest.importorskip("onnxruntime_genai", reason="needs the genai extra")
pytest.importorskip("torch", reason="needs the cpu extra")
MIB = 2**20


class TestExportGenAI(StageConformance):
    stage = ExportGenAI
    task = "generate"


def export(model: Model, folder: Path, **parameters: object) -> Model:
    return FolderContext(folder).apply(ExportGenAI.model_validate(parameters), model)


@pytest.mark.parametrize(
    ("parameters", "most"),
    [
        ({"precision": "int8"}, 0.05),
        ({"precision": "int8", "algorithm": "k_quant", "block_size": 16}, 0.05),
        ({"precision": "int4", "algorithm": "rtn", "symmetric": False, "keep_int8": "mixed"}, 0.35),
        ({"precision": "int4", "algorithm": "k_quant", "keep_int8": "last"}, 0.4),
    ],
)
def test_the_more_bits_the_closer_to_pytorch(
    tiny_causal: Model, tmp_path: Path, parameters: dict[str, object], most: float
) -> None:
    target = Target(threads=1)
    result = export(tiny_causal, tmp_path, **parameters)
    runner = Torch().runner(tiny_causal, target)
    inputs = runner.sample(2, 20)
    expected = runner.infer(inputs)
    difference = GenAI().runner(result, target).infer(inputs) - expected
    assert np.sqrt((difference**2).mean() / expected.var()) < most


def test_int4_packs_every_matrix_and_the_shared_embeddings(tiny_causal: Model, tmp_path: Path) -> None:
    result = export(tiny_causal, tmp_path)
    operators = GenAI().graph_operators(result)
    assert "MatMul" not in operators
    assert operators["MatMulNBits"] == 11
    assert operators["GatherBlockQuantized"] == 1
    assert result.spec.dtype == "int4"


def test_embeddings_are_stored_apart_where_asked_for(tiny_causal: Model, tmp_path: Path) -> None:
    result = export(tiny_causal, tmp_path, shared_embeddings=False)
    assert GenAI().graph_operators(result)["Gather"] >= 1
    assert "GatherBlockQuantized" not in GenAI().graph_operators(result)


def test_fp16_is_refused_on_a_cpu(tiny_causal: Model, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no fp16 graph for the CPU") as caught:
        export(tiny_causal, tmp_path, precision="fp16")
    assert "fp32, int8, int4" in str(caught.value)


@pytest.mark.parametrize("parameters", [{"symmetric": False}, {"keep_int8": "last"}])
def test_graphs_that_would_not_load_are_refused_beforehand(parameters: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="take 'rtn' or 'k_quant'"):
        ExportGenAI.model_validate(parameters)


def test_the_plan_refuses_an_architecture_that_the_builder_does_not_know(tiny_causal: Model) -> None:
    spec = tiny_causal.spec.model_copy(update={"architecture": "MptForCausalLM"})
    with pytest.raises(RecipeError, match=r"does not know MptForCausalLM[\s\S]*graph: trace"):
        ExportGenAI().check(spec)


# MiB of peak resident memory of a process that does nothing else, Llama shapes with random weights.
@pytest.mark.parametrize(
    ("parameters", "weights", "precision", "algorithm", "measured"),
    [
        (134_515_008, 538_060_032, "fp32", "default", 1138),
        (134_515_008, 538_060_032, "int4", "default", 1544),
        (134_515_008, 538_060_032, "int4", "rtn", 1841),
        (134_515_008, 538_060_032, "int4", "k_quant", 2474),
        (134_515_008, 538_060_032, "int8", "default", 1780),
        (501_088_000, 1_002_176_000, "int4", "default", 2891),
        (1_100_048_384, 2_200_096_768, "int4", "default", 4952),
    ],
)
def test_the_predicted_memory_is_within_a_fifth_of_what_was_measured(
    parameters: int, weights: int, precision: str, algorithm: str, measured: int
) -> None:
    stage = ExportGenAI.model_validate({"precision": precision, "algorithm": algorithm})
    predicted = stage.footprint(ModelSize(parameters=parameters, weight_bytes=weights)).memory_bytes
    assert predicted / MIB == pytest.approx(measured, rel=0.2)
