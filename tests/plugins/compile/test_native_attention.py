from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from modelwright.api.model import Model
from modelwright.api.stage import MIB
from modelwright.api.target import Target
from modelwright.errors import RecipeError
from modelwright_plugins.cast.dtype import CastDtype
from modelwright_plugins.compile.onnxruntime import CompileOnnxRuntime, Variant
from modelwright_plugins.compile.variants import VARIANTS
from modelwright_plugins.export.onnx import ExportOnnx
from modelwright_plugins.format import onnx_decoder, onnx_graph
from modelwright_plugins.format.onnx import Onnx
from modelwright_plugins.format.onnx_causal_runner import OnnxCausalRunner
from modelwright_plugins.format.torch import Torch
from modelwright_plugins.quantize.onnx_weight_only import QuantizeOnnxWeightOnly
from tests.plugins.export.test_onnx_architectures import ARCHITECTURES, LLAMA, random_checkpoint
from tests.plugins.greedy import greedy
from tests.plugins.stage_context import FolderContext

pytest.importorskip("onnxscript", reason="needs the export extra")
pytest.importorskip("onnxruntime", reason="needs onnxruntime")

ROWS = [[5, 9, 30], [7, 8, 9, 10, 11, 12, 13, 200, 41], [100, 3], [50, 60, 70, 80, 90, 61]]
QWEN3 = {**LLAMA, "head_dim": 16}
ROTARY: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("LlamaConfig", LLAMA),
    "scaled": (
        "LlamaConfig",
        {**LLAMA, "rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}},
    ),
    "with biases": ("Qwen2Config", LLAMA),
    "with normalized heads": ("Qwen3Config", QWEN3),
}


def chained(model: Model, folder: Path, *stages: Any) -> Model:
    for number, stage in enumerate(stages):
        model = FolderContext(folder / str(number), formats={"onnx": Onnx()}).apply(stage, model)
    return model


def test_the_table_of_angles_of_a_long_context_is_predicted(tmp_path: Path) -> None:
    checkpoint = random_checkpoint(
        tmp_path / "checkpoint", "LlamaConfig", {**LLAMA, "max_position_embeddings": 65536}
    )
    # The tokenizer's own limit is shorter.
    long = replace(checkpoint, spec=checkpoint.spec.model_copy(update={"max_length": 65536}))
    exported = chained(long, tmp_path / "export", ExportOnnx())
    stage = CompileOnnxRuntime(variant="fused")
    fused = chained(exported, tmp_path / "fused", stage)
    size = Onnx().size(exported.path).model_copy(update={"anatomy": Torch().anatomy(checkpoint.path)})
    predicted = stage.footprint(size)
    written = sum(file.stat().st_size for file in fused.path.glob("model.onnx*"))
    assert written > 65536 * 8 * 4
    assert written < predicted.disk_bytes < written + 3 * MIB
    assert predicted.memory_bytes > CompileOnnxRuntime(variant="packed").footprint(size).memory_bytes


def runner(model: Model) -> OnnxCausalRunner:
    return OnnxCausalRunner(model, Target(threads=1))


@pytest.mark.parametrize("name", ROTARY)
def test_logits_and_tokens_stay_those_of_pytorch(name: str, tmp_path: Path) -> None:
    checkpoint = random_checkpoint(tmp_path / "checkpoint", *ROTARY[name])
    fused = chained(checkpoint, tmp_path, ExportOnnx(), CompileOnnxRuntime(variant="fused"))
    operators = Onnx().graph_operators(fused)
    assert operators["GroupQueryAttention"] == 2
    assert "RotaryEmbedding" not in operators
    assert "Cos" not in operators
    found, torch = runner(fused), Torch().runner(checkpoint, Target(threads=1))
    assert found.padding == "right"
    assert found.cache == "shared"
    batch = found.batch(ROWS)
    shown = batch["attention_mask"][..., None]
    difference = (found.all_logits(batch) - torch.all_logits(batch)) * shown
    assert np.abs(difference).max() < 1e-4
    assert greedy(found, ROWS, 24) == greedy(torch, ROWS, 24)
    assert greedy(found, ROWS[:1], 24) == greedy(torch, ROWS[:1], 24)


def test_query_key_and_value_go_in_as_one_product(tmp_path: Path) -> None:
    checkpoint = random_checkpoint(tmp_path / "checkpoint", *ROTARY["plain"])
    quantize = QuantizeOnnxWeightOnly(method="rtn", embeddings=True)
    quantized = chained(checkpoint, tmp_path / "int4", ExportOnnx(), quantize)
    fused = chained(quantized, tmp_path / "fused", CompileOnnxRuntime(variant="fused"))
    operators = Onnx().graph_operators(fused)
    # Only gate and up are split again.
    assert (operators["MatMulNBits"], operators["Split"]) == (4 * 2 + 1, 2)
    assert greedy(runner(fused), ROWS, 16) == greedy(runner(quantized), ROWS, 16)
    size, before = Onnx().size(fused.path), Onnx().size(quantized.path)
    # A table of cosines and one of sines: 64 positions, half a head of 16 each, in float32.
    assert size.weight_bytes - before.weight_bytes < 2 * 64 * 8 * 4 + 256


def test_the_names_of_variants_are_one_list() -> None:
    assert get_args(Variant) == ("auto", *VARIANTS)


def test_a_graph_in_float16_is_fused_too(tmp_path: Path) -> None:
    checkpoint = random_checkpoint(tmp_path / "checkpoint", *ROTARY["plain"])
    half = chained(checkpoint, tmp_path / "half", CastDtype(dtype="fp16"), ExportOnnx())
    fused = chained(half, tmp_path / "fused", CompileOnnxRuntime(variant="fused"))
    assert fused.spec.dtype == "float16"
    assert "RotaryEmbedding" not in Onnx().graph_operators(fused)


def test_padded_prompts_get_logits_of_their_last_tokens_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = random_checkpoint(tmp_path / "checkpoint", *ROTARY["plain"])
    fused = chained(checkpoint, tmp_path, ExportOnnx(), CompileOnnxRuntime(variant="fused"))
    found, asked = runner(fused), []
    assert found.padding == "right"
    keep = onnx_decoder.bind_logits_to_keep
    monkeypatch.setattr(
        onnx_decoder,
        "bind_logits_to_keep",
        lambda binding, count: (asked.append(count), keep(binding, count)),
    )
    rows = [[*range(30, 41)], [*range(50, 63)]]
    first = found.start(found.batch(rows), 1).logits
    assert asked == [3, 1]  # from the last token of the shorter row on; then one
    for row, logits in zip(rows, first, strict=True):
        np.testing.assert_allclose(found.infer(found.batch([row]))[0], logits, atol=1e-4)


def test_layers_of_unlike_bits_are_fused_too(tmp_path: Path) -> None:
    checkpoint = random_checkpoint(tmp_path / "checkpoint", *ROTARY["plain"])
    quantize = QuantizeOnnxWeightOnly(method="rtn", embeddings=True, layer_bits={"*v_proj*": 8})
    quantized = chained(checkpoint, tmp_path / "mixed", ExportOnnx(), quantize)
    fused = chained(quantized, tmp_path / "fused", CompileOnnxRuntime(variant="fused"))
    assert "RotaryEmbedding" not in Onnx().graph_operators(fused)
    assert greedy(runner(fused), ROWS, 16) == greedy(runner(quantized), ROWS, 16)


@pytest.mark.parametrize(
    "name", ["alibi, MPT", "learned positions", "partial rotary", "capped scores and a window"]
)
def test_what_attention_cannot_do_by_itself_stays_before_it(name: str, tmp_path: Path) -> None:
    checkpoint = random_checkpoint(tmp_path / "checkpoint", *ARCHITECTURES[name][:2])
    exported = chained(checkpoint, tmp_path / "float", ExportOnnx())
    compiled = chained(exported, tmp_path / "fused", CompileOnnxRuntime(variant="fused"))
    kept = ("RotaryEmbedding", "GroupQueryAttention")
    before, after = Onnx().graph_operators(exported), Onnx().graph_operators(compiled)
    assert [after.get(key) for key in kept] == [before.get(key) for key in kept]
    assert greedy(runner(compiled), ROWS, 12) == greedy(runner(exported), ROWS, 12)


@pytest.mark.parametrize("window", [8, 40])
def test_a_window_is_kept_however_wide(window: int, tmp_path: Path) -> None:
    sizes = {**LLAMA, "sliding_window": window}
    checkpoint = random_checkpoint(tmp_path / "checkpoint", "MistralConfig", sizes)
    fused = chained(checkpoint, tmp_path, ExportOnnx(), CompileOnnxRuntime(variant="fused"))
    torch = Torch().runner(checkpoint, Target(threads=1))
    rows = [[*range(20, 68)], [*range(100, 130)]]
    assert greedy(runner(fused), rows, 12) == greedy(torch, rows, 12)


def test_angles_of_the_length_of_the_text_are_computed_in_the_graph(tmp_path: Path) -> None:
    longrope = {"rope_type": "longrope", "factor": 2.0, "rope_theta": 10000.0}
    factors = {"short_factor": [1.0] * 8, "long_factor": [2.0] * 8, "original_max_position_embeddings": 16}
    sizes = {**LLAMA, "rope_parameters": {**longrope, **factors}}
    exported = chained(random_checkpoint(tmp_path / "c", "LlamaConfig", sizes), tmp_path, ExportOnnx())
    compiled = chained(exported, tmp_path / "fused", CompileOnnxRuntime(variant="fused"))
    rotations = [Onnx().graph_operators(model).get("RotaryEmbedding") for model in (exported, compiled)]
    assert rotations[0] == rotations[1]
    assert greedy(runner(compiled), ROWS, 24) == greedy(runner(exported), ROWS, 24)


def test_weights_beside_the_graph_are_joined_alike(
    tiny_causal: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported = chained(tiny_causal, tmp_path / "inside", ExportOnnx())
    inside = chained(exported, tmp_path / "inside" / "fused", CompileOnnxRuntime(variant="fused"))
    monkeypatch.setattr(onnx_graph, "INLINE_LIMIT", 1000)
    exported = chained(tiny_causal, tmp_path / "beside", ExportOnnx())
    beside = chained(exported, tmp_path / "beside" / "fused", CompileOnnxRuntime(variant="fused"))
    assert (beside.path / "model.onnx.data").is_file()
    assert not (inside.path / "model.onnx.data").exists()
    assert greedy(runner(beside), ROWS, 16) == greedy(runner(inside), ROWS, 16)


def test_a_graph_cut_short_is_named(tiny_causal: Model, tmp_path: Path) -> None:
    exported = chained(tiny_causal, tmp_path, ExportOnnx())
    file = exported.path / "model.onnx"
    file.chmod(0o644)
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(RecipeError, match="ONNX Runtime does not load the graph") as caught:
        runner(exported)
    assert "modelwright verify" in str(caught.value.hint)
