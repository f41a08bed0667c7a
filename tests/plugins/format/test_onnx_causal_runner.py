from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from modelwright.api.model import Model
from modelwright.api.runner import Decoder
from modelwright.api.target import Target
from modelwright.digest import digest_folder
from modelwright.errors import RecipeError
from modelwright_plugins.export.onnx import ExportOnnx
from modelwright_plugins.export.onnx_builder import build_graph
from modelwright_plugins.format import onnx_fixed_steps
from modelwright_plugins.format.onnx_causal_cache import CacheBuffers, CacheKind
from modelwright_plugins.format.onnx_causal_runner import OnnxCausalRunner
from modelwright_plugins.format.torch_causal_runner import TorchCausalRunner
from modelwright_plugins.text.padding_side import split_rows
from tests.plugins.greedy import assert_same_steps
from tests.plugins.stage_context import FolderContext

pytest.importorskip("onnxruntime_genai", reason="needs the genai extra: its builder makes the graphs")
TARGET = Target(threads=1)
ROWS = [[70, 71, 72, 1, 5, 9, 30, 41], [8], [250, 3, 9, 9, 12], [100, 200, 0]]


def save_graph(model: Model, folder: Path, **options: object) -> Model:
    """The builder's graph of a model, fused for the given provider."""
    out, scratch = folder / "out", folder / "scratch"
    out.mkdir()
    scratch.mkdir()
    build_graph(model.path, out, architecture=model.spec.architecture, scratch=scratch, **options)  # type: ignore[arg-type]
    shutil.copyfile(model.path / "tokenizer.json", out / "tokenizer.json")
    return Model(out, model.spec.model_copy(update={"format": "onnx"}), digest_folder(out))


@pytest.fixture(scope="module")
def graph(tiny_causal: Model, tmp_path_factory: pytest.TempPathFactory) -> Model:
    return save_graph(tiny_causal, tmp_path_factory.mktemp("graph"))


@pytest.fixture(scope="module")
def half_graph(tiny_causal: Model, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """In float16, as the builder makes it for GPUs; ONNX Runtime runs it here too."""
    folder = tmp_path_factory.mktemp("half")
    return save_graph(tiny_causal, folder, precision="fp16", provider="CUDAExecutionProvider")


@pytest.fixture(scope="module")
def last_logits_graph(tiny_causal: Model, tmp_path_factory: pytest.TempPathFactory) -> Model:
    return save_graph(tiny_causal, tmp_path_factory.mktemp("last"), options={"prune_lm_head": True})


@pytest.fixture(scope="module")
def reference(tiny_causal: Model) -> TorchCausalRunner:
    return TorchCausalRunner(tiny_causal, TARGET)


@pytest.mark.parametrize("cache", ["shared", "ping-pong"])
def test_tokens_equal_pytorch_in_a_padded_batch(
    reference: TorchCausalRunner, graph: Model, cache: CacheKind
) -> None:
    runner = OnnxCausalRunner(graph, TARGET, cache)
    assert_same_steps(reference, runner, runner.batch(ROWS), 40)
    assert_same_steps(reference, runner, runner.sample(1, 20), 40)


def test_attention_that_appends_in_place_is_given_one_buffer(graph: Model) -> None:
    runner = OnnxCausalRunner(graph, TARGET)
    assert runner.describe()["cache"] == "shared"
    inputs, per_token = runner.sample(2, 10), runner.generation.cache_elements
    assert per_token is not None
    assert runner.start(inputs, 5).cache_bytes() == 2 * 15 * per_token * 4
    forced = OnnxCausalRunner(graph, TARGET, "ping-pong")
    assert forced.start(inputs, 5).cache_bytes() == 2 * 2 * 15 * per_token * 4


def test_the_builders_graphs_are_found_to_want_padding_on_the_right(graph: Model) -> None:
    runner = OnnxCausalRunner(graph, TARGET)
    assert runner.padding == "right"
    assert runner.describe()["unequal rows"] == "padded on the right"


@pytest.mark.parametrize(("attention", "cache"), [("gqa", "shared"), ("attention", "ping-pong")])
def test_traced_graphs_take_padding_on_the_left(
    tiny_causal: Model,
    reference: TorchCausalRunner,
    tmp_path: Path,
    attention: Literal["gqa", "attention"],
    cache: CacheKind,
) -> None:
    pytest.importorskip("onnxscript", reason="needs the export extra")
    traced = FolderContext(tmp_path).apply(ExportOnnx(attention=attention), tiny_causal)
    runner = OnnxCausalRunner(traced, TARGET)
    assert (runner.padding, runner.cache) == ("left", cache)
    assert_same_steps(reference, runner, runner.batch(ROWS), 40)


@pytest.fixture(scope="module")
def fixed(graph: Model) -> OnnxCausalRunner:
    return OnnxCausalRunner(graph, TARGET, fixed_steps=True)


def test_steps_of_fixed_shapes_give_the_same(reference: TorchCausalRunner, fixed: OnnxCausalRunner) -> None:
    assert_same_steps(reference, fixed, fixed.batch(ROWS), 40)
    assert_same_steps(reference, fixed, fixed.sample(1, 20), 20)
    assert {"4x1 of 64", "1x1 of 64"} <= {*fixed.describe()["CUDA graphs"].split(", ")}


def test_batches_at_once_have_buffers_of_their_own(fixed: OnnxCausalRunner) -> None:
    inputs, others = (fixed.sample(2, 12, seed=seed) for seed in (1, 2))

    def stepped(decoder: Decoder) -> np.ndarray:
        return decoder.step(decoder.logits.argmax(1)).copy()

    alone = [stepped(fixed.start(given, 8)) for given in (inputs, others)]
    first, second = fixed.start(inputs, 8), fixed.start(others, 8)
    np.testing.assert_array_equal([stepped(first), stepped(second)], alone)
    assert np.abs(alone[0] - alone[1]).max() > 1


def test_buffers_are_used_again(fixed: OnnxCausalRunner) -> None:
    pool = fixed.steps
    assert pool is not None
    first = pool.take(3, 20, 8)
    assert first is not None
    assert first.buffers.nbytes == CacheBuffers("shared", fixed._graph, 3, 64, "cpu").nbytes
    pool.give_back(first)
    assert pool.take(3, 40, 20) is first
    assert pool.take(3, 20, 1) is None  # too few steps to be worth a graph
    others = [pool.take(batch, 20, 8) for batch in range(4, 12)]
    for steps in (first, *filter(None, others)):
        pool.give_back(steps)
    assert pool.take(11, 20, 8) is others[-1]
    assert pool.take(3, 20, 8) is not first  # freed: others were used since


def test_a_session_has_no_more_graphs_than_it_may(
    graph: Model, reference: TorchCausalRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_fixed_steps, "MOST_GRAPHS", 1)
    runner = OnnxCausalRunner(graph, TARGET, fixed_steps=True)
    assert_same_steps(reference, runner, runner.batch(ROWS), 8)
    # Two that find out about padding, and the one of these rows.
    assert runner.describe()["CUDA graphs"] == "1x1 of 64; 3 batches ran without"


def test_a_graph_whose_shapes_grow_says_so(tiny_causal: Model, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="needs the export extra")
    traced = FolderContext(tmp_path).apply(ExportOnnx(attention="gqa"), tiny_causal)
    runner = OnnxCausalRunner(traced, TARGET, fixed_steps=True)
    assert runner.steps is None
    assert "With a mask as long as its cache it gives other logits" in runner.describe()["note"]
    forced = OnnxCausalRunner(traced, TARGET, "ping-pong", fixed_steps=True)
    assert "does not append to its cache in place" in forced.describe()["note"]


def test_padding_on_the_left_would_have_given_other_tokens(
    reference: TorchCausalRunner, graph: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = OnnxCausalRunner(graph, TARGET)
    monkeypatch.setattr(runner, "padding", "left")
    inputs = runner.batch(ROWS)
    assert np.abs(runner.infer(inputs) - reference.infer(inputs)).max() > 1


def test_rows_run_one_by_one_give_the_same(
    reference: TorchCausalRunner, graph: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = OnnxCausalRunner(graph, TARGET)
    monkeypatch.setattr(runner, "padding", None)
    inputs = runner.batch(ROWS)
    assert_same_steps(reference, runner, inputs, 5)
    np.testing.assert_allclose(runner.loss(inputs), reference.loss(inputs), atol=1e-3)
    decoder = runner.start(inputs, 2)
    singles = [runner.start(row, 2).cache_bytes() for row in split_rows(inputs)]
    assert decoder.cache_bytes() == sum(size for size in singles if size is not None)


def test_loss_and_logits_equal_pytorch_where_nothing_is_padding(
    reference: TorchCausalRunner, graph: Model
) -> None:
    runner = OnnxCausalRunner(graph, TARGET)
    inputs = runner.batch(ROWS)
    seen = inputs["attention_mask"] > 0
    np.testing.assert_allclose(runner.logits(inputs)[seen], reference.logits(inputs)[seen], atol=1e-3)
    np.testing.assert_allclose(runner.loss(inputs), reference.loss(inputs), atol=1e-3)


def test_a_cache_in_half_precision_takes_half_the_bytes(
    reference: TorchCausalRunner, graph: Model, half_graph: Model
) -> None:
    runner = OnnxCausalRunner(half_graph, TARGET)
    inputs = runner.batch(ROWS)
    np.testing.assert_allclose(runner.infer(inputs), reference.infer(inputs), atol=0.1)
    whole = OnnxCausalRunner(graph, TARGET).start(inputs, 4).cache_bytes()
    half = runner.start(inputs, 4).cache_bytes()
    assert whole is not None
    assert half == whole // 2


def test_a_graph_with_the_last_logits_alone_serves_all_the_same(
    reference: TorchCausalRunner, last_logits_graph: Model
) -> None:
    runner = OnnxCausalRunner(last_logits_graph, TARGET)
    inputs = runner.batch(ROWS)
    seen = inputs["attention_mask"] > 0
    np.testing.assert_allclose(runner.logits(inputs)[seen], reference.logits(inputs)[seen], atol=1e-3)
    assert_same_steps(reference, runner, inputs, 5)


def test_texts_continue_as_in_pytorch(reference: TorchCausalRunner, graph: Model) -> None:
    texts = ["the other thing", "an", ""]
    runner = OnnxCausalRunner(graph, TARGET)
    assert runner.generate(texts, 12) == reference.generate(texts, 12)
    assert runner.generate(texts, 12, use_cache=False) == reference.generate(texts, 12)


def test_a_prompt_longer_than_the_context_is_refused(graph: Model) -> None:
    runner = OnnxCausalRunner(graph, TARGET)
    with pytest.raises(RecipeError, match="60 tokens and 5 are to be added"):
        runner.start(runner.sample(1, 60), 5)


def test_a_description_of_another_vocabulary_is_refused(graph: Model) -> None:
    generation = graph.spec.generation
    assert generation is not None
    other = graph.spec.model_copy(update={"generation": generation.model_copy(update={"vocabulary": 300})})
    with pytest.raises(RecipeError, match=r"logits of 264 tokens[\s\S]*says 300"):
        OnnxCausalRunner(Model(graph.path, other, graph.digest), TARGET)


def test_a_graph_without_a_cache_is_refused(tiny_causal: Model, tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"])
        for name in ("input_ids", "attention_mask")
    ]
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", "length"])
    cast = helper.make_node("Cast", ["input_ids"], ["logits"], to=TensorProto.FLOAT)
    proto = helper.make_model(
        helper.make_graph([cast], "no_cache", inputs, [logits]),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=10,
    )
    onnx.save(proto, str(tmp_path / "model.onnx"))
    shutil.copyfile(tiny_causal.path / "tokenizer.json", tmp_path / "tokenizer.json")
    with pytest.raises(
        RecipeError, match=r"does not generate with a KV cache[\s\S]*export it with a KV cache"
    ):
        OnnxCausalRunner(Model(tmp_path, tiny_causal.spec, ""), TARGET)
