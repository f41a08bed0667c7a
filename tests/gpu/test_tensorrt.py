"""Engines on the GPU give what their graphs do; each library is tried where it serves the GPU."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from modelwright.api.model import Model
from modelwright.api.runner import GenerationRunner, Runner
from modelwright.api.target import Target, TensorRTLibrary
from modelwright.errors import MissingError, RecipeError
from modelwright_plugins.format.engines import Engines
from modelwright_plugins.format.onnx_graph import load_graph, save_graph
from modelwright_plugins.format.tensorrt import TensorRT
from modelwright_plugins.format.tensorrt_causal_runner import TensorRTCausalRunner
from modelwright_plugins.format.torch import Torch
from modelwright_plugins.tensorrt.library import TITLES, problem_of
from tests.gpu.stages import CPU, CUDA, apply, stage

pytest.importorskip("onnxscript", reason="needs the export extra")
ir = pytest.importorskip("onnx_ir", reason="needs the export extra")
TEXTS = ["a text", "another text that is longer than the first", "and a third"]


@pytest.fixture(params=TITLES)
def library(request: pytest.FixtureRequest) -> TensorRTLibrary:
    """Each library that serves the GPU here."""
    found: TensorRTLibrary = request.param
    if problem := problem_of(found):
        pytest.skip(f"{TITLES[found]}: {problem}")
    return found


def built(model: Model, folder: Path, library: TensorRTLibrary, **fields: object) -> Model:
    target = Target.model_validate({**CUDA.model_dump(), "tensorrt": library})
    cast, _ = apply(stage("cast.dtype", dtype="fp16"), model, folder / "cast")
    attention = "attention" if model.spec.task == "generate" else "gqa"
    exported, _ = apply(stage("export.onnx", opset=23, attention=attention), cast, folder / "onnx")
    return apply(stage("compile.tensorrt", **fields), exported, folder / "engine", target)[0]


def cosines(found: Runner, wanted: Runner) -> np.ndarray:
    one, other = found.run(TEXTS), wanted.run(TEXTS)
    return np.asarray((one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1))


def test_an_encoder_embeds_as_in_pytorch(library: TensorRTLibrary, encoder: Model, tmp_path: Path) -> None:
    # The tiny model's heads are too narrow for fused kernels.
    engine = built(encoder, tmp_path, library, decomposable=True)
    runner = TensorRT().runner(engine, CUDA)
    assert runner.describe()["runtime"].startswith(TITLES[library])
    assert cosines(runner, Torch().runner(encoder, CPU)).min() > 0.9995
    layers = json.loads((engine.path / "layers.json").read_text("utf-8"))
    assert layers


def test_weights_left_out_come_from_the_graph(
    library: TensorRTLibrary, encoder: Model, tmp_path: Path
) -> None:
    whole = built(encoder, tmp_path / "whole", library, decomposable=True)
    bare = built(encoder, tmp_path / "bare", library, decomposable=True, strip_weights=True)
    assert Engines.read(bare.path).engines[0].size < Engines.read(whole.path).engines[0].size
    runner = TensorRT().runner(bare, CUDA)
    assert cosines(runner, Torch().runner(encoder, CPU)).min() > 0.9995
    shutil.copytree(bare.path, tmp_path / "copy")
    graph = load_graph(tmp_path / "copy")
    weight = next(value for value in graph.graph.initializers.values() if len(value.shape or ()) == 2)
    assert weight.const_value is not None
    weight.const_value = ir.tensor(weight.const_value.numpy() * 2, name=weight.name)
    save_graph(graph, tmp_path / "copy")
    with pytest.raises(RecipeError, match=r"takes its weights from is missing, or was changed"):
        TensorRT().runner(dataclasses.replace(bare, path=tmp_path / "copy"), CUDA)


def test_weights_are_streamed_within_a_limit(
    library: TensorRTLibrary, reference_lm: Model, tmp_path: Path
) -> None:
    engine = built(reference_lm, tmp_path, library, weight_streaming=True)
    exact = Torch().runner(reference_lm, CPU)
    assert isinstance(exact, GenerationRunner)
    inputs = exact.sample(2, 48, seed=1)
    for limit, kept in ((None, True), ("1KiB", False)):
        runner = TensorRT().runner(engine, CUDA.model_copy(update={"memory_limit": limit}))
        assert isinstance(runner, GenerationRunner)
        np.testing.assert_allclose(runner.logits(inputs), exact.logits(inputs), rtol=0.05, atol=0.1)
        assert isinstance(runner, TensorRTCausalRunner)
        loaded = runner.engine._engine
        assert loaded.streamable_weights_size > 0
        assert loaded.weight_streaming_budget_v2 == (loaded.streamable_weights_size if kept else 0)
        assert runner.describe()["weights streamed"].startswith("0 of") is kept


def test_a_language_model_generates_as_in_pytorch(
    library: TensorRTLibrary, reference_lm: Model, tmp_path: Path
) -> None:
    engine = built(reference_lm, tmp_path, library)
    runner, exact = TensorRT().runner(engine, CUDA), Torch().runner(reference_lm, CPU)
    assert isinstance(runner, GenerationRunner)
    assert isinstance(exact, GenerationRunner)
    inputs = exact.sample(2, 48, seed=1)
    np.testing.assert_allclose(runner.logits(inputs), exact.logits(inputs), rtol=0.05, atol=0.1)
    texts = ["Return a list of", "The name"]
    assert runner.generate(texts, 12) == exact.generate(texts, 12)


def test_engines_that_cannot_run_are_refused(
    library: TensorRTLibrary, encoder: Model, tmp_path: Path
) -> None:
    engine = built(encoder, tmp_path, library, decomposable=True)
    copy = tmp_path / "copy"
    shutil.copytree(engine.path, copy)
    file = copy / "model.engine"
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(RecipeError, match="does not load the engine"):
        TensorRT().runner(dataclasses.replace(engine, path=copy), CUDA)
    table = copy / "engines.json"
    entry = json.loads(table.read_text("utf-8"))
    entry["engines"][0]["compute_capabilities"] = ["1.0"]
    table.write_text(json.dumps(entry), encoding="utf-8")
    with pytest.raises(MissingError, match=r"The engines are for compute capability 1\.0"):
        TensorRT().runner(dataclasses.replace(engine, path=copy), CUDA)
    with pytest.raises(RecipeError, match="No profile of the engine takes input_ids"):
        TensorRT().runner(engine, CUDA).run(["a text"] * 64, 64)
