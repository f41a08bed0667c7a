"""GPTQ to compressed-tensors: what is written is what was computed, and transformers reads it alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from pydantic import ValidationError

import modelwright
from modelwright.api.model import Model
from modelwright.api.target import Target
from modelwright.errors import RecipeError, StageError
from modelwright.testing.conformance import StageConformance
from modelwright.testing.texts import sentences
from modelwright_plugins.format.compressed_tensors import CompressedTensors
from modelwright_plugins.format.torch import Torch
from modelwright_plugins.prune.magnitude import PruneMagnitude
from modelwright_plugins.quantize.gptq import QuantizeGPTQ
from tests.plugins.stage_context import FolderContext
from tests.plugins.tiny_llama import save_tiny_llama

torch = pytest.importorskip("torch", reason="needs torch")
pytest.importorskip("compressed_tensors", reason="needs the extra compressed-tensors")

FIELDS: dict[str, Any] = {"data": "docs", "samples": 8, "length": 48, "group_size": 32}
ALONE = """
import sys
import numpy as np, torch
from transformers import AutoModelForCausalLM
network = AutoModelForCausalLM.from_pretrained(sys.argv[1]).eval()
assert not any(name.startswith("modelwright") for name in sys.modules)
with torch.no_grad():
    np.save(sys.argv[2], network(torch.arange(3, 40)[None]).logits.numpy())
"""


def context(folder: Path) -> FolderContext:
    texts = [{"text": text} for text in sentences(60, seed=3)]
    return FolderContext(folder, data={("docs", "calibration"): texts})


def quantized(model: Model, folder: Path, **fields: Any) -> tuple[Model, FolderContext]:
    ctx = context(folder)
    return ctx.apply(QuantizeGPTQ.model_validate({**FIELDS, **fields}), model), ctx


def tensors(model: Model) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(model.path / "model.safetensors")


def unpacked(model: Model) -> dict[str, Any]:
    """Weights as compressed-tensors' own functions unpack them."""
    from compressed_tensors.compressors.pack_quantized import unpack_from_int32

    found, bits = tensors(model), int(model.spec.dtype.removeprefix("int"))
    weights = {}
    for name in [name for name in found if name.endswith("weight_packed")]:
        base = name.removesuffix("_packed")
        scale, shape = found[f"{base}_scale"], torch.Size(found[f"{base}_shape"].tolist())
        codes = unpack_from_int32(found[name], bits, shape).float().unflatten(1, (scale.shape[1], -1))
        if f"{base}_zero_point" in found:
            zeros = unpack_from_int32(found[f"{base}_zero_point"], bits, scale.shape, packed_dim=0)
            codes = codes - zeros.float()[..., None]
        weights[base] = (codes * scale.float()[..., None]).flatten(1)
    return weights


@pytest.mark.parametrize(
    "fields",
    [
        {"bits": 4},
        {"bits": 2, "symmetric": False, "act_order": True},
        {"bits": 3, "symmetric": False, "static_groups": True},
        {"bits": 8, "group_size": None},
        {"bits": 4, "method": "rtn", "data": None, "samples": 128, "length": 512},
    ],
    ids=["4", "2-asymmetric-act", "3-asymmetric-static", "8-channel", "rtn"],
)
def test_a_process_without_us_reads_what_was_computed(
    fields: dict[str, Any], tiny_causal: Model, tmp_path: Path
) -> None:
    result, ctx = quantized(tiny_causal, tmp_path, **fields)
    weights = unpacked(result)
    assert len(weights) == 14
    # The original with these weights in the place of its own.
    from modelwright_plugins.format.torch import load_checkpoint

    network = load_checkpoint(tiny_causal)
    network.load_state_dict(weights, strict=False)
    with torch.no_grad():
        expected = network(torch.arange(3, 40)[None]).logits.numpy()
    alone = tmp_path / "alone.npy"
    subprocess.run([sys.executable, "-c", ALONE, str(result.path), str(alone)], check=True, cwd=tmp_path)
    np.testing.assert_allclose(np.load(alone), expected, rtol=1e-4, atol=1e-4)
    runner = CompressedTensors().runner(result, Target(threads=1))
    ids = np.arange(3, 40)[None]
    ours = runner.logits({"input_ids": ids, "attention_mask": np.ones_like(ids)})
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-4)
    assert {row["bits"] for row in ctx.records["layers"]} == {fields["bits"]}
    assert result.spec.tags == (f"int{fields['bits']}", "quantized")


def test_the_files_are_as_small_as_they_say(tiny_causal: Model, tmp_path: Path) -> None:
    result, ctx = quantized(tiny_causal, tmp_path)
    size = CompressedTensors().size(result.path)
    assert size.parameters == Torch().size(tiny_causal.path).parameters
    layers = sum(weight.numel() for weight in unpacked(result).values())
    # 4 bits, a float32 scale for 32 of them, two int64 of each layer's shape.
    assert ctx.records["bytes"]["quantized_layers"] == layers // 2 + layers // 32 * 4 + 14 * 16
    CompressedTensors().check(result.path, deep=True)


def test_gptq_errs_less_than_rounding_to_nearest(tiny_causal: Model, tmp_path: Path) -> None:
    _, ctx = quantized(tiny_causal, tmp_path, bits=3)
    for row in ctx.records["errors"]:
        assert row["error"] < row["error_rounded_to_nearest"]


def test_a_checkpoint_in_half_precision_stays_in_it(tmp_path: Path) -> None:
    from modelwright_plugins.cast.dtype import CastDtype

    model = save_tiny_llama(tmp_path / "model", head=True)
    half = FolderContext(tmp_path / "half").apply(CastDtype(dtype="bf16"), model)
    result, _ = quantized(half, tmp_path / "quantized")
    found = tensors(result)
    assert found["model.layers.0.mlp.up_proj.weight_scale"].dtype == torch.bfloat16
    assert torch.equal(found["lm_head.weight"], tensors(half)["lm_head.weight"])
    config = json.loads((result.path / "config.json").read_text())["quantization_config"]
    assert config["ignore"] == ["lm_head"]
    assert config["format"] == "pack-quantized"
    logits = CompressedTensors().runner(result, Target(threads=1)).run(sentences(3, seed=1))
    reference = Torch().runner(half, Target(threads=1)).run(sentences(3, seed=1))
    assert np.corrcoef(logits.ravel(), reference.ravel())[0, 1] > 0.97


@pytest.mark.parametrize("symmetric", [True, False])
def test_a_sparse_model_stays_sparse(symmetric: bool, tiny_causal: Model, tmp_path: Path) -> None:
    sparse = FolderContext(tmp_path / "sparse").apply(PruneMagnitude(pattern="2:4"), tiny_causal)
    result, _ = quantized(sparse, tmp_path / "quantized", symmetric=symmetric)
    before = tensors(sparse)
    for name, weight in unpacked(result).items():
        assert (weight[before[name] == 0] == 0).all()
    assert result.spec.tags == ("int4", "quantized", "sparse", "sparse-2:4")


def test_an_encoder_is_quantized_as_well(tiny_checkpoint: Model, tmp_path: Path) -> None:
    result, ctx = quantized(tiny_checkpoint, tmp_path)
    assert len(unpacked(result)) == 12
    assert {row["reason"] for row in ctx.records["kept_in_float"]} >= {"outside the transformer's blocks"}
    texts = sentences(6, seed=4)
    before = Torch().runner(tiny_checkpoint, Target(threads=1)).run(texts)
    after = CompressedTensors().runner(result, Target(threads=1)).run(texts)
    cosine = (before * after).sum(1) / np.linalg.norm(before, axis=1) / np.linalg.norm(after, axis=1)
    assert cosine.min() > 0.97


def test_layers_can_be_left_out(tiny_causal: Model, tmp_path: Path) -> None:
    result, _ = quantized(tiny_causal, tmp_path, skip=["*.mlp.*"])
    assert all("self_attn" in name for name in unpacked(result))
    found, before = tensors(result), tensors(tiny_causal)
    name = "model.layers.1.mlp.up_proj.weight"
    assert torch.equal(found[name], before[name])


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"data": None}, "gptq calibrates on data"),
        ({"method": "rtn"}, "data is of gptq; rtn rounds each weight by itself"),
        ({"bits": 5}, "2, 3, 4 or 8"),
        ({"split": "test"}, "'calibration', 'train' or 'validation'"),
        ({"group_size": 0}, "greater than or equal to 8"),
    ],
)
def test_what_makes_no_sense_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        QuantizeGPTQ.model_validate({**FIELDS, **fields})


def test_groups_that_fit_no_layer_are_refused(tiny_causal: Model, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"The 64 inputs of '.*' are no multiple of 48") as refused:
        quantized(tiny_causal, tmp_path, group_size=48)
    assert refused.value.where.endswith(".group_size")


def test_a_network_of_convolutions_is_refused(tmp_path: Path) -> None:
    from tests.plugins.blockwise.networks import save_tiny_gpt2

    with pytest.raises(StageError, match="No linear layer is left") as refused:
        quantized(save_tiny_gpt2(tmp_path / "model"), tmp_path / "quantized")
    assert "Conv1D, which compressed-tensors does not take" in str(refused.value.hint)


def test_nothing_that_trains_or_exports_can_follow(tiny_causal: Model, tmp_path: Path) -> None:
    recipe = tmp_path / "late.yaml"
    recipe.write_text(
        f"name: late\nmodel: {{path: {tiny_causal.path}}}\n"
        "stages:\n  quantize: {use: quantize.gptq, method: rtn}\n  export: {use: export.onnx}\n"
    )
    with pytest.raises(
        RecipeError, match="takes torch, and the step 'quantize' gives compressed_tensors"
    ) as late:
        modelwright.plan(recipe, artifacts=tmp_path)
    assert late.value.hint == "remove 'export', or 'quantize' and what needs it"


class TestConformance(StageConformance):
    stage = QuantizeGPTQ
    task = "generate"
    parameters: ClassVar[dict[str, Any]] = {"data": "texts", "samples": 8, "length": 32, "group_size": 32}
