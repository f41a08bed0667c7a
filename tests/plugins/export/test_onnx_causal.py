from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from modelwright.api.model import Model, ModelSize
from modelwright.api.stage import MIB
from modelwright.digest import digest_folder
from modelwright.errors import RecipeError, StageError
from modelwright.testing.tiny_causal import write_tiny_causal
from modelwright_plugins.export import onnx_causal
from modelwright_plugins.export.onnx import ExportOnnx
from modelwright_plugins.format import onnx_graph
from modelwright_plugins.format.onnx import Onnx
from modelwright_plugins.format.torch import Torch
from tests.plugins.export.causal_steps import OnnxSteps, TorchSteps, largest_difference, padded_batch
from tests.plugins.stage_context import FolderContext

pytest.importorskip("onnxscript", reason="needs the export extra")
pytest.importorskip("onnxruntime", reason="needs onnxruntime")

VOCABULARY = 264


@pytest.fixture(scope="module")
def context(tiny_causal: Model, tmp_path_factory: pytest.TempPathFactory) -> FolderContext:
    context = FolderContext(tmp_path_factory.mktemp("causal_onnx"))
    context.apply(ExportOnnx(), tiny_causal)
    return context


@pytest.fixture(scope="module")
def exported(context: FolderContext) -> Model:
    return context.model(context.out)


@pytest.fixture(scope="module")
def standard(tiny_causal: Model, tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("standard_onnx")
    return FolderContext(folder).apply(ExportOnnx(attention="attention"), tiny_causal)


def test_logits_and_greedy_tokens_equal_pytorch_in_a_padded_batch(
    exported: Model, tiny_causal: Model
) -> None:
    assert largest_difference(exported, tiny_causal, new_tokens=48) < 1e-4


@pytest.mark.parametrize(("batch", "length"), [(1, 1), (1, 40), (3, 2), (5, 17)])
def test_one_graph_takes_every_batch_and_length(
    exported: Model, tiny_causal: Model, batch: int, length: int
) -> None:
    ids, mask = padded_batch([length] * batch, VOCABULARY)
    np.testing.assert_allclose(OnnxSteps(exported)(ids, mask), TorchSteps(tiny_causal)(ids, mask), atol=1e-4)


def test_a_past_is_continued_by_several_tokens(exported: Model, tiny_causal: Model) -> None:
    ids, mask = padded_batch([20], VOCABULARY)
    whole = TorchSteps(tiny_causal)(ids, mask)
    steps = OnnxSteps(exported)
    parts = [steps(ids[:, a:b], mask[:, :b]) for a, b in ((0, 8), (8, 9), (9, 15), (15, 20))]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, atol=1e-4)


def test_past_and_present_may_be_one_buffer(exported: Model, tiny_causal: Model) -> None:
    import onnxruntime as ort

    steps, torch = OnnxSteps(exported), TorchSteps(tiny_causal)
    ids, mask = padded_batch((4, 9), VOCABULARY)
    buffers = {
        name: ort.OrtValue.ortvalue_from_numpy(np.full((2, shape[1], 32, shape[3]), 7, np.float32))
        for name, shape in steps.shapes.items()
        if name.startswith("past_key_values.")
    }
    binding = steps.session.io_binding()
    for name, buffer in buffers.items():
        binding.bind_ortvalue_input(name, buffer)
        binding.bind_ortvalue_output(name.replace("past_key_values", "present"), buffer)
    for _ in range(8):
        binding.bind_cpu_input("input_ids", ids)
        binding.bind_cpu_input("attention_mask", mask)
        positions = np.maximum(mask.cumsum(1) - 1, 0)[:, -ids.shape[1] :]
        binding.bind_cpu_input("position_ids", np.ascontiguousarray(positions))
        binding.bind_output("logits")
        steps.session.run_with_iobinding(binding)
        found = binding.get_outputs()[-1].numpy()
        np.testing.assert_allclose(found[:, -1], torch(ids, mask)[:, -1], atol=1e-4)
        ids = found[:, -1].argmax(-1)[:, None]
        mask = np.concatenate([mask, np.ones_like(ids)], axis=1)


def test_logits_may_be_limited_to_the_last_positions(exported: Model) -> None:
    ids, mask = padded_batch((5, 12), VOCABULARY)
    every = OnnxSteps(exported)(ids, mask)
    last = OnnxSteps(exported)(ids, mask, logits_to_keep=np.array([2]))
    assert last.shape == (2, 2, VOCABULARY)
    np.testing.assert_allclose(last, every[:, -2:], atol=1e-5)


def test_every_layer_is_one_attention_operator(exported: Model, context: FolderContext) -> None:
    operators = Onnx().graph_operators(exported)
    assert operators["GroupQueryAttention"] == 2
    assert operators["RotaryEmbedding"] == 4
    assert operators["SkipSimplifiedLayerNormalization"] + operators["RMSNormalization"] == 5
    assert not operators.keys() & {"Softmax", "Pow", "ReduceMean"}
    # Heads are neither split nor merged around attention: the one transpose is the tied embedding's.
    assert operators["Transpose"] == 1
    record = context.records["attention"]
    assert isinstance(record, dict)
    assert (record["operator"], record["layers"], record["reason"]) == ("gqa", 2, "")
    assert record["fused"] == {"GroupQueryAttention": 2}


def test_inputs_outputs_and_dimensions_are_named(exported: Model) -> None:
    import onnx

    graph = onnx.load(str(exported.path / "model.onnx")).graph
    shapes = {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }
    past, present = ["batch", 2, "past", 16], ["batch", 2, "total", 16]
    assert shapes.pop("logits_to_keep") == [1]
    assert shapes == {
        "input_ids": ["batch", "length"],
        "attention_mask": ["batch", "total"],
        "position_ids": ["batch", "length"],
        **{f"past_key_values.{i}.{part}": past for i in (0, 1) for part in ("key", "value")},
        "logits": ["batch", "kept", VOCABULARY],
        **{f"present.{i}.{part}": present for i in (0, 1) for part in ("key", "value")},
    }


def test_products_are_named_after_their_layer(exported: Model) -> None:
    import onnx

    graph = onnx.load(str(exported.path / "model.onnx")).graph
    products = {node.name: node.input[1] for node in graph.node if node.op_type == "MatMul"}
    name = "model.layers.1.mlp.down_proj"
    assert products[f"{name}/MatMul"] == f"{name}.weight"
    assert len(products) == 2 * 7 + 1


def test_tied_weights_are_stored_once(exported: Model, tiny_causal: Model) -> None:
    stored = Onnx().size(exported.path).weight_bytes
    assert abs(stored - Torch().size(tiny_causal.path).weight_bytes) < 512


def test_equal_checkpoints_give_equal_bytes_that_tell_nothing_of_this_machine(
    exported: Model, tmp_path: Path
) -> None:
    folder = write_tiny_causal(tmp_path / "elsewhere" / "checkpoint")
    model = Model(folder, Torch().describe(folder), digest_folder(folder))
    again = FolderContext(tmp_path / "again").apply(ExportOnnx(), model)
    assert again.digest == exported.digest
    graph = (again.path / "model.onnx").read_bytes()
    assert not [text for text in (str(tmp_path).encode(), b"site-packages", b".py") if text in graph]


def test_large_weights_go_to_one_file_beside_the_graph(
    exported: Model, tiny_causal: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_graph, "INLINE_LIMIT", 1000)
    apart = FolderContext(tmp_path).apply(ExportOnnx(), tiny_causal)
    weights = (apart.path / "model.onnx.data").stat().st_size
    assert 0.95 < weights / Torch().size(tiny_causal.path).weight_bytes < 1.1
    assert (apart.path / "model.onnx").stat().st_size < 100_000
    ids, mask = padded_batch((5, 12), VOCABULARY)
    np.testing.assert_array_equal(OnnxSteps(apart)(ids, mask), OnnxSteps(exported)(ids, mask))


def test_the_standard_operator_serves_every_runtime(standard: Model, tiny_causal: Model) -> None:
    import onnx

    graph = onnx.load(str(standard.path / "model.onnx")).graph
    assert {node.domain for node in graph.node} == {""}
    assert Onnx().graph_operators(standard)["Attention"] == 2
    assert largest_difference(standard, tiny_causal) < 1e-4


def test_the_standard_operator_continues_a_padded_batch_by_several_tokens(
    standard: Model, tiny_causal: Model
) -> None:
    onnx, torch = OnnxSteps(standard), TorchSteps(tiny_causal)
    ids, mask = padded_batch((4, 9, 7), VOCABULARY)
    onnx(ids, mask), torch(ids, mask)
    more = np.random.default_rng(1).integers(1, VOCABULARY, (3, 6))
    mask = np.concatenate([mask, np.ones_like(more)], axis=1)
    np.testing.assert_allclose(onnx(more, mask), torch(more, mask), atol=1e-4)


def test_bfloat16_is_exported_in_float32(tiny_causal: Model, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    folder = write_tiny_causal(tmp_path / "checkpoint")
    loaded = AutoModelForCausalLM.from_pretrained(tiny_causal.path, dtype=torch.bfloat16)
    loaded.save_pretrained(folder)
    model = Model(folder, Torch().describe(folder), digest_folder(folder))
    assert model.spec.dtype == "bfloat16"
    context = FolderContext(tmp_path / "run")
    result = context.apply(ExportOnnx(), model)
    assert context.described["dtype"] == "float32"
    assert largest_difference(result, model, new_tokens=8) < 1e-4


def test_the_model_builder_writes_the_same_function(tiny_causal: Model, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime_genai", reason="needs the genai extra")
    stage = ExportOnnx(graph="builder")
    stage.check(tiny_causal.spec)
    built = FolderContext(tmp_path).apply(stage, tiny_causal)
    assert Onnx().graph_operators(built)["GroupQueryAttention"] == 2
    ids, mask = padded_batch((12, 12), VOCABULARY)
    np.testing.assert_allclose(OnnxSteps(built)(ids, mask), TorchSteps(tiny_causal)(ids, mask), atol=1e-3)


@pytest.mark.parametrize(
    ("stage", "architecture", "words"),
    [
        (ExportOnnx(), "MambaForCausalLM", "carries a recurrent state"),
        (ExportOnnx(opset=20), "LlamaForCausalLM", "needs opset 23 or more"),
        (ExportOnnx(graph="builder", attention="attention"), "LlamaForCausalLM", "GroupQueryAttention alone"),
    ],
)
def test_what_cannot_be_exported_is_refused_in_the_plan(
    stage: ExportOnnx, architecture: str, words: str, tiny_causal: Model
) -> None:
    with pytest.raises(RecipeError, match=words):
        stage.check(tiny_causal.spec.model_copy(update={"architecture": architecture}))


def test_a_builder_has_no_encoders(tiny_causal: Model) -> None:
    with pytest.raises(RecipeError, match="the task is embed"):
        ExportOnnx(graph="builder").check(tiny_causal.spec.model_copy(update={"task": "embed"}))


def test_a_model_without_keys_and_values_is_refused_with_the_reason(tmp_path: Path) -> None:
    from transformers import MambaConfig, MambaForCausalLM

    folder = write_tiny_causal(tmp_path / "checkpoint")
    config = MambaConfig(vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, state_size=4)
    MambaForCausalLM(config).save_pretrained(folder)
    spec = Torch().describe(folder)
    assert json.loads((folder / "config.json").read_text())["model_type"] == "mamba"
    context = FolderContext(tmp_path / "run")
    with pytest.raises(StageError, match="carry a recurrent state beside or instead of keys and values"):
        context.apply(ExportOnnx(), Model(folder, spec, digest_folder(folder)))
    assert not list(context.out.glob("model.onnx*"))


@pytest.mark.parametrize(
    ("parameters", "width", "measured"),
    [
        (2_123_264, 4, 568),
        (19_400_000, 4, 830),
        (44_050_000, 4, 1207),
        (88_120_000, 4, 908),
        (134_515_008, 4, 1202),
        (1_100_048_384, 2, 5106),
    ],
)
def test_memory_is_predicted_as_it_was_measured(parameters: int, width: int, measured: int) -> None:
    """Peak resident memory of the step in MiB: weights in the graph (up to 256 MiB), then beside it."""
    size = ModelSize(parameters=parameters, weight_bytes=parameters * width)
    assert abs(onnx_causal.causal_footprint(size).memory_bytes / MIB / measured - 1) < 0.2


def test_the_result_is_predicted_in_float32(exported: Model, tiny_causal: Model) -> None:
    size = Torch().size(tiny_causal.path)
    predicted = onnx_causal.causal_footprint(size)
    assert abs(predicted.result.weight_bytes - Onnx().size(exported.path).weight_bytes) < 512
    written = sum(file.stat().st_size for file in exported.path.glob("model.onnx*"))
    assert written < predicted.disk_bytes < written + 3 * MIB


def test_sixteen_bits_take_a_copy_in_float32_on_the_disk() -> None:
    predicted = onnx_causal.causal_footprint(ModelSize(parameters=1_000_000, weight_bytes=2_000_000))
    assert predicted.disk_bytes == 2 * 4_000_000 + 2 * MIB
