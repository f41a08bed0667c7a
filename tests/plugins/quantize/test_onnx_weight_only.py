from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from modelwright.api.dataset import Record
from modelwright.api.model import Model, ModelSize
from modelwright.api.stage import MIB
from modelwright.api.target import Target
from modelwright.errors import RecipeError, StageError
from modelwright.testing.texts import sentences
from modelwright_plugins.format import onnx_graph
from modelwright_plugins.format.onnx import Onnx
from modelwright_plugins.format.onnx_graph import load_graph
from modelwright_plugins.format.torch import Torch
from modelwright_plugins.quantize.onnx_weight_only import QuantizeOnnxWeightOnly
from tests.plugins.onnx_outputs import cosines
from tests.plugins.quantize.causal_graph import HIDDEN, INNER, VOCABULARY, cosine, logits, write_causal_graph
from tests.plugins.stage_context import FolderContext

pytest.importorskip("onnxruntime", reason="needs onnxruntime")
pytest.importorskip("onnx", reason="needs the export extra")

DATA = {
    ("docs", split): [Record(text=text) for text in sentences(60, seed=seed)]
    for seed, split in enumerate(("calibration", "validation"))
}
SIZES = {"up": HIDDEN * INNER, "gate": HIDDEN * INNER, "down": HIDDEN * INNER, "head": HIDDEN * VOCABULARY}


@pytest.fixture(scope="module")
def causal(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return write_causal_graph(tmp_path_factory.mktemp("causal"))


def calibrated(method: str, samples: int) -> dict[str, Any]:
    return {"data": "docs", "samples": samples, "length": 32} if method == "gptq" else {}


def quantize(model: Model, folder: Path, **parameters: Any) -> tuple[Model, FolderContext]:
    ctx = FolderContext(folder, data=DATA, target=Target(threads=1))
    return ctx.apply(QuantizeOnnxWeightOnly.model_validate(parameters), model), ctx


def bits_of(ctx: FolderContext) -> dict[str, int]:
    return {row["node"]: row["bits"] for row in ctx.records["layers"]}  # type: ignore[call-overload,index,union-attr]


def test_every_form_of_weight_is_quantized(causal: Model, tmp_path: Path) -> None:
    found, ctx = quantize(causal, tmp_path / "a", bits=8)
    operators = Onnx().graph_operators(found)
    assert operators["MatMulNBits"] == 4
    assert not {"MatMul", "Gemm", "Transpose"} & set(operators)
    assert found.spec.tags == ("onnxruntime-only", "weight-only")
    assert found.spec.dtype == "int8"
    assert cosine(logits(causal), logits(found)) > 0.999
    assert bits_of(ctx) == dict.fromkeys(("up", "gate", "down", "head"), 8)


@pytest.mark.parametrize("method", ["rtn", "hqq", "k_quant", "gptq"])
@pytest.mark.parametrize("symmetric", [True, False])
def test_each_method_stays_close_in_4_bits(
    causal: Model, tmp_path: Path, method: str, symmetric: bool
) -> None:
    found, ctx = quantize(
        causal, tmp_path / "a", method=method, symmetric=symmetric, **calibrated(method, 20)
    )
    assert cosine(logits(causal), logits(found)) > 0.95
    zeros = [name for name in load_graph(found.path).graph.initializers if name.endswith("_zero_points")]
    assert len(zeros) == (0 if symmetric else 4)
    bits = ctx.records["bits"]
    assert isinstance(bits, dict)
    assert bits["codes"] == 4
    # An odd number of blocks leaves half a byte of zero points unused.
    assert bits["with_scales"] == (5 if symmetric else pytest.approx(5.15, abs=0.03))


@pytest.mark.parametrize("block_size", [16, 32, 64])
def test_the_runtime_computes_with_what_was_packed(causal: Model, tmp_path: Path, block_size: int) -> None:
    from modelwright_plugins.weight_only.k_quant import k_quant

    found, _ = quantize(causal, tmp_path / "a", block_size=block_size, accuracy_level=1, include=["head"])
    weight = load_graph(causal.path).graph.initializers["table"].const_value
    assert weight is not None
    rounded = k_quant(weight.numpy().T.copy(), 4, block_size, symmetric=False).dequantize()
    hidden = np.linalg.lstsq(weight.numpy(), logits(causal).reshape(-1, VOCABULARY).T, rcond=None)[0].T
    expected = (hidden @ rounded.T).reshape(2, 24, VOCABULARY)
    assert np.allclose(logits(found), expected, atol=1e-3)


def test_a_tied_table_stays_once_beside_a_quantized_head(causal: Model, tmp_path: Path) -> None:
    _, ctx = quantize(causal, tmp_path / "a", block_size=32)
    table = VOCABULARY * HIDDEN * 4
    blocks = sum(size // 2 + size // 32 * 4 for size in SIZES.values())
    shapes = ((HIDDEN, INNER), (HIDDEN, INNER), (INNER, HIDDEN), (HIDDEN, VOCABULARY))
    zeros = sum(outputs * -(-inputs // 64) for inputs, outputs in shapes)
    rest = INNER * 4 + 2 * 8
    assert ctx.records["bytes"] == {
        "before": table + 3 * HIDDEN * INNER * 4 + rest,
        "after": table + blocks + zeros + rest,
        "tables_in_float": table,
    }


@pytest.mark.parametrize("block_size", [32, 64, 16])
def test_tied_embeddings_and_head_share_their_blocks(causal: Model, tmp_path: Path, block_size: int) -> None:
    found, ctx = quantize(causal, tmp_path / "a", bits=8, embeddings=True, block_size=block_size)
    operators = Onnx().graph_operators(found)
    assert operators["GatherBlockQuantized"] == 1
    assert "Gather" not in operators
    assert [name for name in load_graph(found.path).graph.initializers if "table" in name] == [
        "table_Q8", "table_scales", "table_zero_points",
    ]  # fmt: skip
    assert ctx.records["bytes"]["tables_in_float"] == 0  # type: ignore[call-overload,index]
    assert cosine(logits(causal), logits(found)) > 0.998


@pytest.mark.parametrize("bits", [4, 8])
def test_embeddings_alone(causal: Model, tmp_path: Path, bits: int) -> None:
    found, _ = quantize(
        causal, tmp_path / "a", bits=8, embeddings=True, embedding_bits=bits, lm_head=False, exclude=["up"]
    )
    operators = Onnx().graph_operators(found)
    assert (operators["MatMulNBits"], operators["MatMul"], operators["GatherBlockQuantized"]) == (2, 2, 1)
    assert cosine(logits(causal), logits(found)) > (0.97 if bits == 4 else 0.999)


def test_the_budget_is_kept_and_the_most_sensitive_layer_with_it(causal: Model, tmp_path: Path) -> None:
    found, ctx = quantize(
        causal, tmp_path / "a", budget=5.5, data="docs", length=32, sensitivity_samples=4, method="rtn"
    )
    rows = {row["node"]: row for row in ctx.records["layers"]}  # type: ignore[call-overload,index,union-attr]
    mean = sum(SIZES[name] * row["bits"] for name, row in rows.items()) / sum(SIZES.values())
    assert mean <= 5.5
    assert ctx.records["bits"]["codes"] == pytest.approx(mean)  # type: ignore[call-overload,index]
    gain = {name: row["sensitivity"] / SIZES[name] for name, row in rows.items()}
    assert rows[max(gain, key=gain.__getitem__)]["bits"] == 8
    assert all(row["sensitivity"] > 0 for row in rows.values())
    uniform, _ = quantize(causal, tmp_path / "b", method="rtn")
    expected = logits(causal)
    assert cosine(expected, logits(found)) > cosine(expected, logits(uniform))
    assert found.spec.dtype == "int4+int8"


def test_a_budget_can_leave_layers_in_float(causal: Model, tmp_path: Path) -> None:
    found, ctx = quantize(
        causal, tmp_path / "a", budget=14, high_bits=32, data="docs", length=32, sensitivity_samples=2
    )
    assert sorted(set(bits_of(ctx).values())) == [4, 32]
    kept = sum(bits == 32 for bits in bits_of(ctx).values())
    assert Onnx().graph_operators(found)["MatMulNBits"] == 4 - kept


def test_bits_by_pattern(causal: Model, tmp_path: Path) -> None:
    _, ctx = quantize(causal, tmp_path / "a", layer_bits={"head": 8, "g*": 8})
    assert bits_of(ctx) == {"up": 4, "gate": 8, "down": 4, "head": 8}
    with pytest.raises(RecipeError, match=r"layer_bits alone bring the mean to 6\.\d+ bits") as caught:
        quantize(causal, tmp_path / "b", layer_bits={"head": 8, "g*": 8}, budget=5, data="docs", length=32)
    assert caught.value.where == "stages.trial.budget"


def test_half_precision_keeps_its_dtype(tmp_path: Path) -> None:
    model = write_causal_graph(tmp_path / "half", dtype=np.float16)
    found, _ = quantize(model, tmp_path / "a", bits=8, embeddings=True)
    assert cosine(logits(model), logits(found)) > 0.998
    scales = load_graph(found.path).graph.initializers["table_scales"].const_value
    assert scales is not None
    assert scales.numpy().dtype == np.float16


def test_weights_beside_the_graph(causal: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parameters = {
        "method": "gptq",
        "data": "docs",
        "length": 32,
        "samples": 4,
        "budget": 5.0,
        "embeddings": True,
    }
    whole, _ = quantize(causal, tmp_path / "whole", **parameters)
    monkeypatch.setattr(onnx_graph, "INLINE_LIMIT", 1000)
    graph = load_graph(causal.path)
    beside = tmp_path / "beside"
    write_causal_graph(beside)
    onnx_graph.save_graph(graph, beside)
    assert (beside / "model.onnx.data").is_file()
    found, _ = quantize(Model.open(beside), tmp_path / "found", **parameters)
    assert (found.path / "model.onnx.data").is_file()
    assert np.array_equal(logits(found), logits(whole))
    Onnx().check(found.path, deep=True)


def test_the_same_input_gives_the_same_bytes(causal: Model, tmp_path: Path) -> None:
    parameters = {"method": "gptq", "data": "docs", "length": 32, "budget": 5.0}
    first, _ = quantize(causal, tmp_path / "a", **parameters)
    second, _ = quantize(causal, tmp_path / "b", **parameters)
    assert first.digest == second.digest


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"block_size": 48}, "16, 32, 64, 128 or 256"),
        ({"method": "gptq"}, "method: gptq needs data"),
        ({"budget": 5}, "budget needs data"),
        ({"budget": 12, "data": "docs"}, "budget 12.0 is not between bits 4 and high_bits 8"),
        ({"budget": 8, "bits": 8, "data": "docs"}, "bits and high_bits are both 8"),
        ({"method": "rtn", "data": "docs"}, "data has no use without method: gptq or a budget"),
        ({"method": "hqq", "damping": 0.1}, "damping is of method: gptq, and the method is hqq"),
        ({"accuracy_level": 5}, "less than or equal to 4"),
    ],
)
def test_parameters_that_cannot_be(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        QuantizeOnnxWeightOnly.model_validate(parameters)


def test_what_cannot_be_quantized_is_refused(causal: Model, tmp_path: Path) -> None:
    with pytest.raises(StageError, match="'up' has 96 inputs, less than one block of 128") as caught:
        quantize(causal, tmp_path / "a", block_size=128)
    assert caught.value.where == "stages.trial.block_size"
    with pytest.raises(StageError, match="No MatMul or Gemm with constant weights"):
        quantize(causal, tmp_path / "b", include=["residual"])
    with pytest.raises(RecipeError, match="The pattern 'upp' matches no node") as caught:
        quantize(causal, tmp_path / "c", exclude=["upp"])
    assert str(caught.value.hint).startswith("did you mean 'up'")
    short = FolderContext(tmp_path / "d", data={("docs", "validation"): [Record(text="short")]})
    with pytest.raises(
        RecipeError, match=r"The validation split of 'docs' has \d tokens, fewer than one piece"
    ):
        short.apply(QuantizeOnnxWeightOnly(budget=5, data="docs"), causal)
    once, _ = quantize(causal, tmp_path / "e", include=["up"])
    with pytest.raises(StageError, match="quantized already: it has MatMulNBits"):
        quantize(once, tmp_path / "f")


@pytest.mark.parametrize("method", ["rtn", "gptq"])
def test_an_encoder_in_8_bits(tiny_onnx: Model, tmp_path: Path, method: str) -> None:
    found, _ = quantize(
        tiny_onnx, tmp_path / "a", bits=8, method=method, embeddings=True, **calibrated(method, 8)
    )
    operators = Onnx().graph_operators(found)
    assert (operators["MatMulNBits"], operators["GatherBlockQuantized"]) == (12, 1)
    assert cosines(tiny_onnx, found).min() > 0.999


def test_a_classifier_spends_a_budget(tiny_classifier_onnx: Model, tmp_path: Path) -> None:
    found, ctx = quantize(tiny_classifier_onnx, tmp_path / "a", budget=6, data="docs", sensitivity_samples=4)
    assert ctx.records["bits"]["codes"] <= 6  # type: ignore[call-overload,index,operator]
    assert set(bits_of(ctx).values()) == {4, 8}
    assert cosines(tiny_classifier_onnx, found).mean() > 0.9


def test_a_llama_of_the_model_builder(tiny_causal: Model, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime_genai", reason="needs the genai extra")
    from modelwright_plugins.export.onnx import ExportOnnx

    exported = FolderContext(tmp_path / "export").apply(ExportOnnx(graph="builder"), tiny_causal)
    found, _ = quantize(exported, tmp_path / "a", bits=8, embeddings=True, accuracy_level=1)
    one, other = logits(exported), logits(found)
    assert (one * other).sum() / np.linalg.norm(one) / np.linalg.norm(other) > 0.999
    mixed, ctx = quantize(exported, tmp_path / "b", budget=5, data="docs", length=32, sensitivity_samples=2)
    assert ctx.records["bits"]["codes"] <= 5  # type: ignore[call-overload,index,operator]
    assert Onnx().graph_operators(mixed)["MatMulNBits"] == 11


@pytest.mark.parametrize(
    ("parameters", "stage", "measured"),
    [
        (134_515_008, {"method": "k_quant"}, 553),
        (134_515_008, {"method": "rtn", "bits": 8, "block_size": 64}, 686),
        (134_515_008, {"method": "gptq", "data": "docs"}, 1730),
        (1_100_048_384, {"method": "rtn"}, 1543),
        (1_100_048_384, {"method": "rtn", "bits": 8, "block_size": 64}, 1942),
        (1_100_048_384, {"method": "gptq", "data": "docs"}, 5853),
    ],
)
def test_memory_is_predicted_as_it_was_measured(
    parameters: int, stage: dict[str, Any], measured: int
) -> None:
    """Peak resident memory of the step in MiB, on Llama shapes in float32."""
    size = ModelSize(parameters=parameters, weight_bytes=4 * parameters)
    predicted = QuantizeOnnxWeightOnly(embeddings=True, **stage).footprint(size).memory_bytes
    assert abs(predicted / MIB / measured - 1) < 0.2


BUDGET = {"data": "docs", "budget": 5}


@pytest.mark.parametrize(
    ("layers", "vocabulary", "stage", "measured"),
    [
        (4, 8192, {"method": "rtn"}, 432),
        (4, 8192, {"method": "gptq", "data": "docs"}, 911),
        (4, 8192, {"method": "k_quant", **BUDGET}, 724),
        (8, 16384, {"method": "rtn"}, 371),
        (8, 16384, {"method": "gptq", "data": "docs"}, 1083),
        (8, 16384, {"method": "k_quant", **BUDGET}, 1061),
    ],
)
def test_memory_within_the_graph_and_beside_it_is_predicted(
    layers: int, vocabulary: int, stage: dict[str, Any], measured: int, tmp_path: Path
) -> None:
    """The same for weights of 168 MiB, inside the graph, and of 336 MiB; pieces have 512 tokens."""
    config = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "num_hidden_layers": layers,
        "hidden_size": 1024,
        "intermediate_size": 2048,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "vocab_size": vocabulary,
        "tie_word_embeddings": True,
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    anatomy = Torch().anatomy(tmp_path)
    assert anatomy is not None
    size = ModelSize(parameters=anatomy.parameters, weight_bytes=4 * anatomy.parameters, anatomy=anatomy)
    predicted = QuantizeOnnxWeightOnly(embeddings=True, **stage).footprint(size).memory_bytes
    assert abs(predicted / MIB / measured - 1) < 0.2
