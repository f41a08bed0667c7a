"""Language models with a KV cache as engines of TensorRT for RTX, which builds without a GPU."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from modelwright.api.model import Model
from modelwright.api.runner import GenerationRunner
from modelwright.api.target import Target
from modelwright.errors import MissingError, StageError
from modelwright.planning.gpu import gpus
from modelwright.planning.source import local_folder
from modelwright_plugins.cast.dtype import CastDtype
from modelwright_plugins.compile.tensorrt import CompileTensorRT
from modelwright_plugins.export.onnx import ExportOnnx
from modelwright_plugins.format.onnx import Onnx
from modelwright_plugins.format.onnx_graph import load_graph, save_graph
from modelwright_plugins.format.tensorrt import TensorRT
from modelwright_plugins.tensorrt.causal import join_caches_outside
from tests.plugins.stage_context import FolderContext
from tests.plugins.tiny_llama import open_checkpoint

pytest.importorskip("tensorrt_rtx", reason="needs the extra tensorrt-rtx")
pytest.importorskip("onnxscript", reason="needs the export extra")

WITHOUT_GPU = pytest.mark.skipif(bool(gpus()), reason="this machine has a GPU")
RTX = Target(tensorrt="tensorrt_rtx", threads=2, runs=False)
LAYERS = 5


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The reference model, whose queries share keys and values, in float16."""
    folder = tmp_path_factory.mktemp("exported")
    source = local_folder("pkg://modelwright_conf/reference_lm", "model.path")
    assert source is not None
    half = FolderContext(folder / "half").apply(CastDtype(dtype="fp16"), open_checkpoint(source))
    return FolderContext(folder / "onnx").apply(ExportOnnx(attention="attention"), half)


@pytest.fixture(scope="module")
def engine(exported: Model, tmp_path_factory: pytest.TempPathFactory) -> Model:
    stage = CompileTensorRT(fallback=True)
    stage.check(exported.spec)
    ctx = FolderContext(tmp_path_factory.mktemp("engine"), target=RTX, formats={"tensorrt": TensorRT()})
    return ctx.apply(stage, exported)


def test_prompts_and_tokens_are_one_engine_with_fused_attention_in_every_layer(engine: Model) -> None:
    operators = TensorRT().graph_operators(engine)
    assert operators["Attention"] == LAYERS
    assert operators["RotaryEmbedding"] == 2 * LAYERS
    assert "Softmax" not in operators
    [entry] = json.loads((engine.path / "engines.json").read_text("utf-8"))["engines"]
    prompts, tokens = entry["profiles"]
    sizes = {"batch": [1, 1, 8], "length": [1, 128, 1024], "past": [0, 0, 0], "total": [1, 128, 1024]}
    assert prompts == sizes
    assert tokens == {**sizes, "length": [1, 1, 1], "past": [1, 128, 1023], "total": [2, 129, 1024]}
    assert (engine.path / "model.engine").stat().st_size > 4_000_000


def test_joining_caches_outside_of_attention_changes_no_bit(exported: Model, tmp_path: Path) -> None:
    import onnxruntime as ort

    graph = load_graph(exported.path)
    assert join_caches_outside(graph) == LAYERS
    save_graph(graph, tmp_path)
    before, after = (
        ort.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
        for folder in (exported.path, tmp_path)
    )
    names = [item.name for item in before.get_outputs()]
    assert names == [item.name for item in after.get_outputs()]
    assert [item.name for item in before.get_inputs()] == [item.name for item in after.get_inputs()]
    generator = np.random.default_rng(0)
    for batch, length, past in ((2, 7, 0), (2, 1, 9), (1, 4, 3)):
        mask = np.ones((batch, past + length), np.int64)
        mask[0, : (past + length) // 3] = 0  # padded on the left
        fed = {
            item.name: generator.standard_normal((batch, item.shape[1], past, item.shape[3])).astype("f2")
            for item in before.get_inputs()
            if item.name.startswith("past")
        }
        fed |= {"input_ids": generator.integers(0, 2048, (batch, length)), "attention_mask": mask}
        fed["position_ids"] = np.maximum(mask.cumsum(1) - 1, 0)[:, -length:]
        for name, one, other in zip(names, before.run(names, fed), after.run(names, fed), strict=True):
            np.testing.assert_array_equal(one, other, err_msg=name)


def test_attention_that_masks_by_itself_is_not_taken_apart(exported: Model) -> None:
    import onnx_ir as ir

    graph = load_graph(exported.path)
    node = next(node for node in graph.graph if node.op_type == "Attention")
    node.attributes["is_causal"] = ir.AttrInt64("is_causal", 1)
    with pytest.raises(StageError, match="is not one whose cache can be joined in front of it") as refused:
        join_caches_outside(graph)
    assert refused.value.where == f"node {node.name}"


@WITHOUT_GPU
def test_where_no_engine_fits_the_graph_runs_and_says_so(engine: Model, exported: Model) -> None:
    asked_for = Target(device="cuda", provider="CUDAExecutionProvider", threads=2)
    runner, plain = TensorRT().runner(engine, asked_for), Onnx().runner(exported, Target(threads=2))
    assert "this machine has none" in runner.describe()["note"]
    assert runner.describe()["runtime"].startswith("ONNX Runtime")
    assert isinstance(runner, GenerationRunner)
    assert isinstance(plain, GenerationRunner)
    assert runner.generate(["Return the"], 8) == plain.generate(["Return the"], 8)


@WITHOUT_GPU
def test_without_fallback_the_engine_alone_runs(engine: Model) -> None:
    spec = engine.spec.model_copy(update={"details": {}})
    with pytest.raises(MissingError, match="runs on an NVIDIA GPU") as refused:
        TensorRT().runner(Model(engine.path, spec, engine.digest), Target(threads=2))
    assert "fallback=true" in str(refused.value.hint)
