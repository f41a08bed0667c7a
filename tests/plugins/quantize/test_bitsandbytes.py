from __future__ import annotations

import json
import logging
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
from modelwright.errors import MissingError, RecipeError, StageError
from modelwright.testing.conformance import StageConformance
from modelwright.testing.recipes import write_recipe
from modelwright.testing.texts import sentences
from modelwright_plugins.format.bitsandbytes import BitsAndBytes
from modelwright_plugins.format.torch import Torch, load_checkpoint
from modelwright_plugins.quantize.bitsandbytes import QuantizeBitsAndBytes
from modelwright_plugins.quantize.checkpoint_report import report_quantized
from modelwright_plugins.quantize.linear_layers import LinearLayers
from tests.plugins.stage_context import FolderContext
from tests.plugins.tiny_llama import save_tiny_llama

pytest.importorskip("bitsandbytes", reason="needs the bitsandbytes extra")
pytest.importorskip("accelerate", reason="needs accelerate")

ONE = Target(threads=1)
LAYER = "model.layers.0.mlp.up_proj"


class TestBitsAndBytes(StageConformance):
    stage = QuantizeBitsAndBytes
    task = "generate"
    parameters: ClassVar[dict[str, Any]] = {"kind": "nf4", "double_quantization": True}


def quantize(model: Model, folder: Path, **parameters: Any) -> tuple[Model, FolderContext]:
    ctx = FolderContext(folder, target=ONE)
    return ctx.apply(QuantizeBitsAndBytes.model_validate(parameters), model), ctx


def rows(ctx: FolderContext, record: str, key: str) -> dict[str, dict[str, Any]]:
    return {row[key]: row for row in ctx.records[record]}  # type: ignore[call-overload,index,union-attr,misc]


def tensors(model: Model) -> dict[str, np.ndarray]:
    from safetensors.numpy import load_file

    return load_file(model.path / "model.safetensors")


def weight_of(model: Model, layer: str) -> np.ndarray:
    """A layer's weights as the checkpoint has them, dequantized by the library."""
    from transformers.integrations.bitsandbytes import dequantize_bnb_weight

    network = load_checkpoint(
        Model(model.path, model.spec.model_copy(update={"dtype": "float32"}), model.digest), device_map="cpu"
    )
    module = network.get_submodule(layer)
    return dequantize_bnb_weight(module.weight, getattr(module, "state", None)).float().numpy()


def logits(model: Model) -> np.ndarray:
    form = Torch() if model.spec.format == "torch" else BitsAndBytes()
    runner = form.runner(model, ONE)
    assert isinstance(runner, GenerationRunner)
    return runner.logits(runner.sample(2, 24, seed=3))


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float((one * other).sum() / np.linalg.norm(one) / np.linalg.norm(other))


@pytest.mark.parametrize("kind", ["int8", "fp4"])
def test_the_same_input_gives_the_same_bytes(tiny_causal: Model, tmp_path: Path, kind: str) -> None:
    first, _ = quantize(tiny_causal, tmp_path / "a", kind=kind)
    second, _ = quantize(tiny_causal, tmp_path / "b", kind=kind)
    assert first.digest == second.digest


@pytest.mark.parametrize(
    ("parameters", "tags", "bits", "error"),
    [
        ({"kind": "int8"}, ("int8", "quantized"), 8, 0.007),
        ({"kind": "nf4"}, ("int4", "nf4", "quantized"), 4.5, 0.1),
        ({"kind": "fp4"}, ("fp4", "int4", "quantized"), 4.5, 0.13),
        ({"kind": "nf4", "double_quantization": True}, ("int4", "nf4", "quantized"), 4.125, 0.1),
    ],
)
def test_each_kind_is_smaller_and_close(
    tiny_causal: Model, tmp_path: Path, parameters: dict[str, Any], tags: tuple[str, ...], bits: float,
    error: float,
) -> None:  # fmt: skip
    found, ctx = quantize(tiny_causal, tmp_path / "a", **parameters)
    BitsAndBytes().check(found.path, deep=True)
    assert (found.spec.format, found.spec.dtype) == ("bitsandbytes", parameters["kind"])
    assert found.spec.tags == tags
    exact = tensors(tiny_causal)[f"{LAYER}.weight"]
    assert np.linalg.norm(weight_of(found, LAYER) - exact) < error * np.linalg.norm(exact)
    assert cosine(logits(tiny_causal), logits(found)) > 0.85
    size = BitsAndBytes().size(found.path)
    assert size.parameters == Torch().size(tiny_causal.path).parameters
    layers, sizes = rows(ctx, "layers", "layer"), ctx.records["bytes"]
    assert len(layers) == 14
    row = layers[LAYER]
    assert (row["bits"], row["weights"]) == (8 if bits == 8 else 4, 64 * 128)
    # Each layer holds its grid as well, which in a real model is nothing beside its weights.
    grid = {8: 1, 4.5: 64 + 100, 4.125: 64 + 1024 + 200}[bits]
    scales = 128 * 4 if bits == 8 else 0
    assert 0 <= row["bytes"] - (64 * 128 * bits / 8 + scales) <= grid
    assert isinstance(sizes, dict)
    assert sizes["before"] == Torch().size(tiny_causal.path).weight_bytes
    assert sizes["after"] == size.weight_bytes == sizes["quantized_layers"] + sizes["kept_in_float"]
    assert sizes["kept_in_float"] == 264 * 64 * 4 + 5 * 64 * 4
    assert set(rows(ctx, "kept_in_float", "what")) == {"model.embed_tokens", "norms and biases"}


@pytest.mark.parametrize("kind", ["int8", "nf4", "fp4"])
def test_the_reloaded_checkpoint_equals_the_one_in_memory(
    tiny_causal: Model, tmp_path: Path, kind: str
) -> None:
    """Quantized anew in memory, and never saved nor run before."""
    import torch

    found, _ = quantize(tiny_causal, tmp_path / "a", kind=kind)
    settings = QuantizeBitsAndBytes.model_validate({"kind": kind})._settings(["lm_head"], "float32")
    memory = load_checkpoint(tiny_causal, device_map="cpu", quantization=settings)
    held = {name: tensor.clone() for name, tensor in memory.state_dict().items()}
    saved = tensors(found)
    for name, tensor in saved.items():
        assert np.array_equal(tensor, held[name].numpy()), name
    plain = Model(found.path, found.spec.model_copy(update={"dtype": "float32"}), found.digest)
    reloaded = load_checkpoint(plain, device_map="cpu")
    ids = torch.arange(10, 58)[None]
    with torch.inference_mode():
        assert torch.equal(memory(ids).logits, reloaded(ids).logits)


def test_transformers_loads_and_generates_what_our_runner_does(tiny_causal: Model, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    found, _ = quantize(tiny_causal, tmp_path / "a", kind="int8")
    runner = BitsAndBytes().runner(found, ONE)
    assert isinstance(runner, GenerationRunner)
    network = AutoModelForCausalLM.from_pretrained(found.path)
    row = runner.encode(["the cat"])[0]
    ids = torch.tensor([row])
    made = network.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False)
    expected = runner.decode(made[0, len(row) :].tolist())
    assert runner.generate(["the cat"], max_new_tokens=12) == [expected]


@pytest.mark.parametrize("kind", ["int8", "nf4"])
def test_its_cache_decodes_as_a_whole_pass_does(tiny_causal: Model, tmp_path: Path, kind: str) -> None:
    found, _ = quantize(tiny_causal, tmp_path / "a", kind=kind)
    runner = BitsAndBytes().runner(found, ONE)
    assert isinstance(runner, GenerationRunner)
    described = runner.describe()
    assert (described["dtype"], described["cache"]) == ("float32", "dynamic")
    assert described["quantization"].startswith("bitsandbytes 0.")
    inputs = runner.batch([[10, 20, 30, 40], [50, 60]])
    decoder = runner.start(inputs, 2)
    stepped = decoder.step(np.array([70, 80]))
    whole = runner.logits(runner.batch([[10, 20, 30, 40, 70], [50, 60, 80]]))[:, -1]
    assert cosine(stepped, whole) > 0.999
    assert decoder.cache_bytes() == 2 * 2 * 2 * 2 * 16 * 5 * 4
    loss = runner.loss(inputs)
    assert loss.shape == (2, 3)
    assert np.isfinite(loss).all()


def test_the_threshold_keeps_large_activations_in_floats(tmp_path: Path) -> None:
    """An input 300 times the others leaves those no codes, unless it is multiplied apart."""
    from safetensors.numpy import load_file, save_file

    model = save_tiny_llama(tmp_path / "checkpoint")
    weights = load_file(model.path / "model.safetensors")
    for layer in range(2):
        weights[f"model.layers.{layer}.input_layernorm.weight"][5] *= 300
        weights[f"model.layers.{layer}.post_attention_layernorm.weight"][5] *= 300
        for name in (
            "self_attn.q_proj",
            "self_attn.k_proj",
            "self_attn.v_proj",
            "mlp.up_proj",
            "mlp.gate_proj",
        ):
            weights[f"model.layers.{layer}.{name}.weight"][:, 5] /= 300
    save_file(weights, model.path / "model.safetensors", metadata={"format": "pt"})
    expected = logits(model)
    found, _ = quantize(model, tmp_path / "a", kind="int8")
    without, _ = quantize(model, tmp_path / "b", kind="int8", threshold=0)
    config = json.loads((without.path / "config.json").read_text())["quantization_config"]
    assert config["llm_int8_threshold"] == 0.0
    assert np.array_equal(tensors(found)[f"{LAYER}.weight"], tensors(without)[f"{LAYER}.weight"])
    assert cosine(expected, logits(found)) > cosine(expected, logits(without)) + 0.01


@pytest.mark.parametrize(
    ("given", "expected"), [(None, "float32"), ("bf16", "bfloat16"), ("fp16", "float16")]
)
def test_the_compute_dtype_is_written_down(
    tiny_causal: Model, tmp_path: Path, given: str | None, expected: str
) -> None:
    found, _ = quantize(tiny_causal, tmp_path / "a", kind="nf4", compute_dtype=given)
    config = json.loads((found.path / "config.json").read_text())["quantization_config"]
    assert config["bnb_4bit_compute_dtype"] == expected
    assert np.isfinite(logits(found)).all()


def test_zeros_stay_zeros(tiny_causal: Model, tmp_path: Path) -> None:
    """What pruning set to zero is zero in every kind."""
    from modelwright_plugins.prune.magnitude import PruneMagnitude

    sparse = FolderContext(tmp_path / "sparse").apply(PruneMagnitude(sparsity=0.5), tiny_causal)
    gone = tensors(sparse)[f"{LAYER}.weight"] == 0
    for kind in ("int8", "nf4", "fp4"):
        found, _ = quantize(sparse, tmp_path / kind, kind=kind)
        assert "sparse" in found.spec.tags
        assert (weight_of(found, LAYER)[gone] == 0).all()


def test_skipped_layers_and_the_head_stay_as_they_were(tmp_path: Path) -> None:
    model = save_tiny_llama(tmp_path / "checkpoint", head=True)
    found, ctx = quantize(
        model, tmp_path / "a", kind="nf4", skip=["*.down_proj", "model.layers.1.self_attn.*"]
    )
    before, after = tensors(model), tensors(found)
    kept = rows(ctx, "kept_in_float", "what")
    assert kept["lm_head"]["reason"] == "output head"
    assert kept["model.layers.0.mlp.down_proj"] == {
        "what": "model.layers.0.mlp.down_proj", "weights": 64 * 128, "bytes": 64 * 128 * 4, "reason": "skip",
    }  # fmt: skip
    assert {name for name in kept if kept[name]["reason"] == "skip"} == {
        *(f"model.layers.{layer}.mlp.down_proj" for layer in range(2)),
        *(f"model.layers.1.self_attn.{name}_proj" for name in "qkvo"),
    }
    for name in ("lm_head.weight", "model.layers.1.self_attn.q_proj.weight", "model.norm.weight"):
        assert np.array_equal(before[name], after[name])
    assert len(rows(ctx, "layers", "layer")) == 14 - 6
    with pytest.raises(RecipeError, match=r"The pattern '\*\.dwn_proj' matches no layer") as caught:
        quantize(model, tmp_path / "b", skip=["*.dwn_proj"])
    assert caught.value.where == "stages.trial.skip"
    assert "model.layers.0.self_attn.q_proj" in str(caught.value.accepted)
    with pytest.raises(RecipeError, match="The patterns leave no layer"):
        quantize(model, tmp_path / "c", skip=["*"])


def test_a_layer_that_the_library_passed_over_is_named(tiny_causal: Model, tmp_path: Path) -> None:
    _, ctx = quantize(tiny_causal, tmp_path / "a")
    layers = LinearLayers((*rows(ctx, "layers", "layer"), "model.layers.7.mlp.up_proj"), {})
    with pytest.raises(StageError, match=r"differs in model\.layers\.7\.mlp\.up_proj") as caught:
        report_quantized(ctx, tiny_causal, BitsAndBytes(), layers, 4)
    assert caught.value.where == "stages.trial.skip"


def test_layers_that_do_not_fit_4_bits_are_kept_and_named(
    tiny_checkpoint: Model, tiny_causal: Model, tmp_path: Path
) -> None:
    """One key-value head is 16 wide: half of the 32 outputs that the kernel takes at once."""
    narrow = save_tiny_llama(tmp_path / "narrow", kv_heads=1)
    found, ctx = quantize(narrow, tmp_path / "a", kind="nf4")
    kept = rows(ctx, "kept_in_float", "what")
    assert kept["model.layers.0.self_attn.k_proj"]["reason"].startswith(
        "16 outputs and 64 inputs; nf4 on a CPU"
    )
    assert np.isfinite(logits(found)).all()
    assert len(rows(quantize(narrow, tmp_path / "b", kind="int8")[1], "layers", "layer")) == 14
    with pytest.raises(StageError, match="No linear layer is left to quantize") as caught:
        quantize(tiny_checkpoint, tmp_path / "c", kind="nf4", skip=["*.output.dense"])
    assert caught.value.where == "stages.trial.skip"
    assert "multiples of 32 outputs and 64 inputs" in str(caught.value.hint)
    assert "'encoder.layer.0.attention.self.query'" in str(caught.value.hint)


def test_encoders_and_classifiers(tiny_checkpoint: Model, tiny_classifier: Model, tmp_path: Path) -> None:
    texts = sentences(6, seed=4)
    for model in (tiny_checkpoint, tiny_classifier):
        found, ctx = quantize(model, tmp_path / model.spec.task, kind="int8")
        kept = rows(ctx, "kept_in_float", "what")
        reasons = {name: kept[name]["reason"] for name in kept if kept[name]["reason"] == "output head"}
        assert [*reasons] == (["classifier"] if model is tiny_classifier else [])
        after = BitsAndBytes().runner(found, ONE).run(texts)
        assert cosine(Torch().runner(model, ONE).run(texts), after) > 0.99
        assert (found.spec.labels, found.spec.pooling) == (model.spec.labels, model.spec.pooling)
    assert (tmp_path / "embed" / "out" / "1_Pooling" / "config.json").is_file()


def test_half_precision_stays_for_what_is_not_quantized(tmp_path: Path) -> None:
    from modelwright_plugins.cast.dtype import CastDtype

    model = save_tiny_llama(tmp_path / "checkpoint")
    half = FolderContext(tmp_path / "half").apply(CastDtype(dtype="bf16"), model)
    found, _ = quantize(half, tmp_path / "a", kind="nf4")
    config = json.loads((found.path / "config.json").read_text())
    assert config["dtype"] == "bfloat16"
    assert config["quantization_config"]["bnb_4bit_compute_dtype"] == "bfloat16"
    assert BitsAndBytes().runner(found, ONE).describe()["dtype"] == "bfloat16"
    assert cosine(logits(model), logits(found)) > 0.9


def test_gpt2_is_quantized_too(tmp_path: Path) -> None:
    """Its layers store their weights the other way round."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    model = save_tiny_llama(tmp_path / "checkpoint")
    torch.manual_seed(0)
    GPT2LMHeadModel(
        GPT2Config(
            vocab_size=264,
            n_positions=64,
            n_embd=64,
            n_layer=2,
            n_head=4,
            initializer_range=0.1,
            bos_token_id=0,
            eos_token_id=0,
        )
    ).save_pretrained(model.path)
    plain = Model(model.path, Torch().describe(model.path), "gpt2")
    found, ctx = quantize(plain, tmp_path / "a", kind="int8")
    assert rows(ctx, "layers", "layer")["transformer.h.0.mlp.c_fc"]["weights"] == 64 * 256
    assert cosine(logits(plain), logits(found)) > 0.999


def test_weights_beyond_float16_are_refused(tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    model = save_tiny_llama(tmp_path / "checkpoint")
    weights = load_file(model.path / "model.safetensors")
    weights[f"{LAYER}.weight"][3, 3] = 70_000
    save_file(weights, model.path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(StageError, match=r"up_proj\.weight' has weights beyond 65,504") as caught:
        quantize(model, tmp_path / "a", kind="int8")
    assert f"skip=[{LAYER}]" in str(caught.value.hint)
    quantize(model, tmp_path / "b", kind="int8", skip=[LAYER])


def test_it_says_nothing_at_each_call_of_each_layer(
    tiny_causal: Model, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found, _ = quantize(tiny_causal, tmp_path / "a", kind="int8")
    logging.getLogger("bitsandbytes").setLevel(logging.NOTSET)
    with caplog.at_level(logging.INFO):
        logits(found)
    assert not [record for record in caplog.records if record.name.startswith("bitsandbytes")]


def test_a_machine_without_its_library(
    tiny_causal: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bitsandbytes import cextension

    found, _ = quantize(tiny_causal, tmp_path / "a")
    monkeypatch.setattr(cextension, "lib", cextension.ErrorHandlerMockBNBNativeLibrary("no such library"))
    with pytest.raises(MissingError, match="bitsandbytes has no library for this machine"):
        quantize(tiny_causal, tmp_path / "b")
    with pytest.raises(MissingError, match="bitsandbytes has no library for this machine"):
        BitsAndBytes().runner(found, ONE)


def test_a_gpu_that_is_not_there(tiny_causal: Model, tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(MissingError, match="runs on no CUDA device"):
        FolderContext(tmp_path / "a", target=Target(device="cuda")).apply(QuantizeBitsAndBytes(), tiny_causal)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"kind": "int4"}, "'int8', 'nf4' or 'fp4'"),
        ({"kind": "int8", "threshold": -1}, "greater than or equal to 0"),
        ({"kind": "nf4", "threshold": 5}, "threshold is of kind int8, and the kind is nf4"),
        ({"kind": "int8", "double_quantization": True}, "double_quantization is of kind nf4 and fp4"),
        ({"kind": "int8", "compute_dtype": "bf16"}, "compute_dtype is of kind nf4 and fp4"),
        ({"compute_dtype": "int8"}, "'fp32', 'bf16' or 'fp16'"),
    ],
)
def test_parameters_that_cannot_be(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        QuantizeBitsAndBytes.model_validate(parameters)


@pytest.mark.parametrize(
    "after", [{"use": "export.onnx"}, {"use": "cast.dtype", "dtype": "bf16"}, {"use": "quantize.torchao"}]
)
def test_nothing_that_takes_a_plain_checkpoint_may_follow(tmp_path: Path, after: dict[str, Any]) -> None:
    model = save_tiny_llama(tmp_path / "checkpoint")
    stages = {"quantize": {"use": "quantize.bitsandbytes"}, "then": after}
    recipe = write_recipe(tmp_path / "recipe", {"stages": stages}, model.path)
    with pytest.raises(
        RecipeError, match="takes torch, and the step 'quantize' gives bitsandbytes"
    ) as caught:
        modelwright.plan(recipe, artifacts=tmp_path / "artifacts")
    assert "stages.then" in str(caught.value.where)


@pytest.mark.parametrize(
    ("parameters", "kind", "measured"),
    [
        (22_713_216, "nf4", 583),
        (22_713_216, "int8", 582),
        (134_515_008, "nf4", 1038),
        (134_515_008, "int8", 1280),
    ],
)
def test_memory_is_predicted_as_it_was_measured(parameters: int, kind: str, measured: int) -> None:
    """Peak resident memory of the step in MiB, on MiniLM and a Llama in float32."""
    size = ModelSize(parameters=parameters, weight_bytes=4 * parameters)
    stage = QuantizeBitsAndBytes.model_validate({"kind": kind})
    assert abs(stage.footprint(size).memory_bytes / MIB / measured - 1) < 0.2


def test_the_size_of_the_result_is_predicted(tmp_path: Path) -> None:
    folder = Path(modelwright.__file__).parents[2] / "conf" / "modelwright_conf" / "reference_lm"
    size = Torch().size(folder).model_copy(update={"anatomy": Torch().anatomy(folder)})
    model = Model(folder, Torch().describe(folder), "unread")
    for kind, double in (("int8", False), ("nf4", False), ("nf4", True)):
        _, ctx = quantize(model, tmp_path / f"{kind}{double}", kind=kind, double_quantization=double)
        stage = QuantizeBitsAndBytes.model_validate({"kind": kind, "double_quantization": double})
        assert stage.footprint(size).result.weight_bytes == pytest.approx(
            ctx.records["bytes"]["after"], rel=0.04
        )  # type: ignore[call-overload,index]
