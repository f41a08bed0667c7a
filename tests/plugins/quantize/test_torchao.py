from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from pydantic import ValidationError

import modelwright
from modelwright.api.model import Model, ModelSize
from modelwright.api.runner import GenerationRunner
from modelwright.api.stage import MIB
from modelwright.api.target import Target
from modelwright.errors import MissingError, RecipeError
from modelwright.testing.conformance import StageConformance
from modelwright.testing.recipes import write_recipe
from modelwright.testing.texts import sentences
from modelwright_plugins.format.torch import Torch, load_checkpoint
from modelwright_plugins.format.torchao import TorchAO
from modelwright_plugins.quantize.torchao import QuantizeTorchAO
from tests.plugins.stage_context import FolderContext
from tests.plugins.tiny_llama import save_tiny_llama

pytest.importorskip("torchao", reason="needs the torchao extra")
pytest.importorskip("accelerate", reason="needs accelerate")

ONE = Target(threads=1)
KINDS = ("weight_only", "dynamic")
LAYER = "model.layers.0.mlp.up_proj"


class TestTorchAO(StageConformance):
    stage = QuantizeTorchAO
    task = "generate"
    parameters: ClassVar[dict[str, Any]] = {"kind": "dynamic", "skip": ["*.down_proj"]}


def quantize(model: Model, folder: Path, **parameters: Any) -> tuple[Model, FolderContext]:
    ctx = FolderContext(folder, target=ONE)
    return ctx.apply(QuantizeTorchAO.model_validate(parameters), model), ctx


def rows(ctx: FolderContext, record: str, key: str) -> dict[str, dict[str, Any]]:
    return {row[key]: row for row in ctx.records[record]}  # type: ignore[call-overload,index,union-attr,misc]


def tensors(model: Model) -> dict[str, np.ndarray]:
    from safetensors.numpy import load_file

    return load_file(model.path / "model.safetensors")


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float((one * other).sum() / np.linalg.norm(one) / np.linalg.norm(other))


def float_spec(model: Model) -> Model:
    return Model(model.path, model.spec.model_copy(update={"dtype": "float32"}), model.digest)


@pytest.mark.parametrize("kind", KINDS)
def test_the_reloaded_checkpoint_equals_the_one_in_memory(
    tiny_causal: Model, tmp_path: Path, kind: str
) -> None:
    """Quantized anew in memory, and never saved nor run before."""
    import torch

    found, _ = quantize(tiny_causal, tmp_path / "a", kind=kind)
    assert (found.spec.format, found.spec.dtype) == ("torchao", "int8")
    assert found.spec.tags == ("int8", "quantized")
    settings = QuantizeTorchAO.model_validate({"kind": kind})._settings(["lm_head"])
    memory = load_checkpoint(tiny_causal, device_map="cpu", quantization=settings)
    weight = memory.get_submodule(LAYER).weight
    saved = tensors(found)
    assert np.array_equal(saved[f"{LAYER}._weight_qdata"], weight.qdata.numpy())
    assert np.array_equal(saved[f"{LAYER}._weight_scale"], weight.scale.numpy())
    reloaded = load_checkpoint(float_spec(found), device_map="cpu")
    plain = load_checkpoint(tiny_causal)
    ids = torch.arange(10, 58)[None]
    with torch.inference_mode():
        expected, outputs = memory(ids).logits, reloaded(ids).logits
        assert torch.equal(expected, outputs)
        assert cosine(plain(ids).logits.numpy(), outputs.numpy()) > 0.998


def test_both_kinds_hold_the_same_codes_and_compute_otherwise(tiny_causal: Model, tmp_path: Path) -> None:
    exact = tensors(tiny_causal)[f"{LAYER}.weight"]
    outputs = []
    for kind in KINDS:
        found, _ = quantize(tiny_causal, tmp_path / kind, kind=kind)
        TorchAO().check(found.path, deep=True)
        held = tensors(found)
        restored = held[f"{LAYER}._weight_qdata"] * held[f"{LAYER}._weight_scale"]
        assert np.abs(restored - exact).max() <= 0.51 * held[f"{LAYER}._weight_scale"].max()
        runner = TorchAO().runner(found, ONE)
        assert isinstance(runner, GenerationRunner)
        outputs.append(runner.logits(runner.sample(1, 24)))
    assert not np.array_equal(*outputs)


def test_the_report_says_what_was_quantized(tmp_path: Path) -> None:
    model = save_tiny_llama(tmp_path / "checkpoint", head=True)
    found, ctx = quantize(model, tmp_path / "a", skip=["*.k_proj"])
    size = TorchAO().size(found.path)
    assert size.parameters == Torch().size(model.path).parameters
    kept = rows(ctx, "kept_in_float", "what")
    assert {name for name in kept if kept[name]["reason"] == "skip"} == {
        f"model.layers.{layer}.self_attn.k_proj" for layer in range(2)
    }
    assert kept["lm_head"]["reason"] == "output head"
    # A byte a weight, and per output a scale and a zero point.
    assert rows(ctx, "layers", "layer")[LAYER] == {
        "layer": LAYER, "bits": 8, "weights": 64 * 128, "bytes": 64 * 128 + 128 * 5,
    }  # fmt: skip
    sizes = ctx.records["bytes"]
    assert isinstance(sizes, dict)
    assert sizes["after"] == size.weight_bytes == sizes["quantized_layers"] + sizes["kept_in_float"]
    for name in ("lm_head.weight", "model.layers.1.self_attn.k_proj.weight"):
        assert np.array_equal(tensors(model)[name], tensors(found)[name])
    with pytest.raises(RecipeError, match="The pattern 'k_proj' matches no layer") as caught:
        quantize(model, tmp_path / "b", skip=["k_proj"])
    assert caught.value.where == "stages.trial.skip"


@pytest.mark.parametrize("kind", KINDS)
def test_its_cache_decodes_as_a_whole_pass_does(tiny_causal: Model, tmp_path: Path, kind: str) -> None:
    found, _ = quantize(tiny_causal, tmp_path / "a", kind=kind)
    runner = TorchAO().runner(found, ONE)
    assert isinstance(runner, GenerationRunner)
    assert runner.describe()["quantization"].startswith("torchao 0.")
    decoder = runner.start(runner.batch([[10, 20, 30, 40], [50, 60]]), 2)
    stepped = decoder.step(np.array([70, 80]))
    whole = runner.logits(runner.batch([[10, 20, 30, 40, 70], [50, 60, 80]]))[:, -1]
    assert cosine(stepped, whole) > 0.9999
    assert len(runner.generate(["the cat"], max_new_tokens=8)[0]) > 0


def test_encoders_and_classifiers(tiny_checkpoint: Model, tiny_classifier: Model, tmp_path: Path) -> None:
    texts = sentences(6, seed=4)
    for model in (tiny_checkpoint, tiny_classifier):
        found, ctx = quantize(model, tmp_path / model.spec.task)
        kept = rows(ctx, "kept_in_float", "what")
        assert ("classifier" in kept) == (model is tiny_classifier)
        after = TorchAO().runner(found, ONE).run(texts)
        assert cosine(Torch().runner(model, ONE).run(texts), after) > 0.999


def test_the_same_input_gives_the_same_bytes(tiny_causal: Model, tmp_path: Path) -> None:
    """The library itself writes its metadata in another order each time."""
    first, _ = quantize(tiny_causal, tmp_path / "a")
    second, _ = quantize(tiny_causal, tmp_path / "b")
    assert first.digest == second.digest


def test_zeros_stay_zeros(tiny_causal: Model, tmp_path: Path) -> None:
    from modelwright_plugins.prune.magnitude import PruneMagnitude

    sparse = FolderContext(tmp_path / "sparse").apply(PruneMagnitude(pattern="2:4"), tiny_causal)
    found, _ = quantize(sparse, tmp_path / "a")
    assert {"sparse", "int8"} <= set(found.spec.tags)
    gone = tensors(sparse)[f"{LAYER}.weight"] == 0
    assert (tensors(found)[f"{LAYER}._weight_qdata"][gone] == 0).all()
    assert not tensors(found)[f"{LAYER}._weight_zero_point"].any()


def test_gpt2_is_left_alone(tmp_path: Path) -> None:
    """Its layers are none that torchao takes."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    from modelwright.errors import StageError

    model = save_tiny_llama(tmp_path / "checkpoint")
    torch.manual_seed(0)
    GPT2LMHeadModel(
        GPT2Config(
            vocab_size=264, n_positions=64, n_embd=64, n_layer=1, n_head=4, bos_token_id=0, eos_token_id=0
        )
    ).save_pretrained(model.path)
    with pytest.raises(StageError, match="No linear layer is left to quantize") as caught:
        quantize(Model(model.path, Torch().describe(model.path), "gpt2"), tmp_path / "a")
    assert "no torch.nn.Linear" in str(caught.value.hint)


def test_what_cannot_be(tiny_causal: Model, tmp_path: Path) -> None:
    import torch

    with pytest.raises(ValidationError, match="'weight_only' or 'dynamic'"):
        QuantizeTorchAO.model_validate({"kind": "static"})
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(MissingError, match="runs on no CUDA device"):
        FolderContext(tmp_path / "a", target=Target(device="cuda")).apply(QuantizeTorchAO(), tiny_causal)


@pytest.mark.parametrize("after", ["export.onnx", "quantize.bitsandbytes"])
def test_nothing_that_takes_a_plain_checkpoint_may_follow(tmp_path: Path, after: str) -> None:
    model = save_tiny_llama(tmp_path / "checkpoint")
    stages = {"quantize": {"use": "quantize.torchao"}, "then": {"use": after}}
    recipe = write_recipe(tmp_path / "recipe", {"stages": stages}, model.path)
    with pytest.raises(RecipeError, match="takes torch, and the step 'quantize' gives torchao"):
        modelwright.plan(recipe, artifacts=tmp_path / "artifacts")


@pytest.mark.parametrize(
    ("parameters", "measured"), [(22_713_216, 563), (134_515_008, 1210), (134_515_008, 1383)]
)
def test_memory_is_predicted_as_it_was_measured(parameters: int, measured: int) -> None:
    """Peak resident memory of the step in MiB, on MiniLM and a Llama in float32; it varies by a fifth."""
    size = ModelSize(parameters=parameters, weight_bytes=4 * parameters)
    assert abs(QuantizeTorchAO().footprint(size).memory_bytes / MIB / measured - 1) < 0.2
