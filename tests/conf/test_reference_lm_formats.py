"""The language model that ships, in float32 in each format: long texts are PyTorch's, token by token."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.reference.corpus import documents

import modelwright_conf
from modelwright.api.model import Model
from modelwright.api.stage import Stage
from modelwright.api.target import Target
from modelwright.digest import digest_folder
from modelwright_plugins.compile.onnxruntime import CompileOnnxRuntime
from modelwright_plugins.export.genai import ExportGenAI
from modelwright_plugins.export.llama2c import ExportLlama2c
from modelwright_plugins.export.onnx import ExportOnnx
from modelwright_plugins.format.genai import GenAI
from modelwright_plugins.format.llama2c import Llama2c
from modelwright_plugins.format.onnx import Onnx
from modelwright_plugins.format.torch import Torch
from tests.plugins.greedy import assert_same_steps
from tests.plugins.stage_context import FolderContext

pytest.importorskip("transformers", reason="needs the extra cpu")

FOLDER = Path(modelwright_conf.__file__).parent / "reference_lm"
FORMATS = {"onnx": Onnx, "genai": GenAI, "llama2c": Llama2c}
LENGTHS = (64, 5, 33, 18)

CASES: dict[str, tuple[tuple[Stage, ...], int]] = {
    "onnx, traced and fused": ((ExportOnnx(), CompileOnnxRuntime(variant="fused")), 256),
    "onnx, by the builder": ((ExportOnnx(graph="builder"),), 256),
    "genai": ((ExportGenAI(precision="fp32"),), 256),
    "model.bin, version 0": ((ExportLlama2c(version=0),), 200),
    "model.bin, version 1": ((ExportLlama2c(version=1),), 200),
}


@pytest.mark.parametrize("case", CASES)
def test_greedy_tokens_and_logits_are_those_of_pytorch(case: str, tmp_path: Path) -> None:
    stages, new_tokens = CASES[case]
    target = Target(threads=1)
    model = Model(FOLDER, Torch().describe(FOLDER), digest_folder(FOLDER))
    reference = Torch().runner(model, target)
    texts = sorted(documents("test"), key=len)[-len(LENGTHS) :]
    rows = [tokens[:length] for tokens, length in zip(reference.encode(texts), LENGTHS, strict=True)]
    inputs = reference.batch(rows)
    assert tuple(inputs["attention_mask"].sum(axis=1)) == LENGTHS
    for number, stage in enumerate(stages):
        model = FolderContext(tmp_path / str(number)).apply(stage, model)
        assert_same_steps(reference, FORMATS[model.spec.format]().runner(model, target), inputs, new_tokens)
