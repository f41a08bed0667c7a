from __future__ import annotations

import json
from pathlib import Path

import pytest

from modelwright.api.model import Model
from modelwright.errors import RecipeError

pytest.importorskip("transformers", reason="needs transformers")

import torch
from transformers import AutoModel, AutoModelForCausalLM, GPT2Config, LlamaConfig, Qwen3Config

from modelwright_plugins.blockwise.depth import keep_layers
from modelwright_plugins.distill.hidden import DistillHidden
from modelwright_plugins.distill.layers import Layers, choose_layers
from modelwright_plugins.format.torch import Torch, load_checkpoint

IDS = torch.arange(24).reshape(2, 12)
SHAPE = {"vocab_size": 64, "hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 4}


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ("every 2", [0, 2, 4]),
        ("every 5", [0, 5]),
        ("first 2", [0, 1]),
        ("last 2", [4, 5]),
        ("spread 3", [0, 2, 5]),
        ("spread 2", [0, 5]),
        ("spread 1", [0]),
        ("spread 6", [0, 1, 2, 3, 4, 5]),
        ((1, 4), [1, 4]),
    ],
)
def test_layers_are_chosen_by_rule_or_by_number(layers: Layers, expected: list[int]) -> None:
    assert choose_layers(layers, 6, "stages.distill.layers") == expected


@pytest.mark.parametrize("layers", ["first 7", (0, 6), (2, 1), (1, 1), ()])
def test_layers_that_are_not_there_are_refused(layers: Layers) -> None:
    with pytest.raises(RecipeError, match="cannot be taken of a model with 6") as caught:
        choose_layers(layers, 6, "stages.distill.layers")
    assert "layers from 0 to 5" in str(caught.value)
    assert "stages.distill.layers" in str(caught.value)


@pytest.mark.parametrize("rule", ["every 2nd", "middle 3", "spread 0", "", 3])
def test_a_rule_that_is_none_is_refused_with_the_parameters(rule: object) -> None:
    with pytest.raises(ValueError, match=f"'{rule}' is neither every 2, first 3, last 3"):
        DistillHidden.model_validate({"data": "docs", "layers": rule})


@pytest.mark.parametrize("path", ["tiny_checkpoint", "tiny_causal"])
def test_the_plan_knows_the_size_of_what_is_left(
    path: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    model: Model = request.getfixturevalue(path)
    size = Torch().size(model.path).model_copy(update={"anatomy": Torch().anatomy(model.path)})
    predicted = DistillHidden(data="docs", layers=(1,)).footprint(size).result
    network = load_checkpoint(model)
    keep_layers(network, [1])
    network.save_pretrained(tmp_path)
    found, anatomy = Torch().size(tmp_path), Torch().anatomy(tmp_path)
    assert predicted.parameters == pytest.approx(found.parameters, rel=0.01)
    assert predicted.weight_bytes == pytest.approx(found.weight_bytes, rel=0.01)
    assert anatomy is not None
    assert predicted.anatomy is not None
    assert predicted.anatomy.modules == anatomy.modules
    assert predicted.anatomy.shape == anatomy.shape
    assert predicted.anatomy.caches == anatomy.caches


def outputs(network: torch.nn.Module) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = network(input_ids=IDS)[0]
        return found


def test_a_bert_of_some_layers_loads_again(tiny_checkpoint: Model, tmp_path: Path) -> None:
    network = load_checkpoint(tiny_checkpoint)
    second = network.encoder.layer[1]
    keep_layers(network, [1])
    assert [*network.encoder.layer] == [second]
    network.save_pretrained(tmp_path / "saved")
    again = AutoModel.from_pretrained(tmp_path / "saved").eval()
    torch.testing.assert_close(outputs(again), outputs(network), rtol=0, atol=0)


@pytest.mark.parametrize(
    "config",
    [
        LlamaConfig(**SHAPE, intermediate_size=32, num_key_value_heads=1),
        GPT2Config(vocab_size=64, n_embd=16, n_head=2, n_layer=4),
        Qwen3Config(
            **SHAPE,
            intermediate_size=32,
            num_key_value_heads=1,
            head_dim=8,
            layer_types=["full_attention", "full_attention", "full_attention", "sliding_attention"],
            use_sliding_window=True,
            sliding_window=4,
        ),
    ],
    ids=["llama", "gpt2", "qwen3"],
)
def test_a_language_model_of_some_layers_loads_again_and_generates_alike(
    config: object, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    network = AutoModelForCausalLM.from_config(config).eval()
    keep_layers(network, [0, 3])
    network.save_pretrained(tmp_path / "saved")
    written = json.loads((tmp_path / "saved" / "config.json").read_text("utf-8"))
    assert written.get("num_hidden_layers", written.get("n_layer")) == 2
    if "layer_types" in written and written["model_type"] == "qwen3":
        assert written["layer_types"] == ["full_attention", "sliding_attention"]
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "saved").eval()
    torch.testing.assert_close(outputs(again), outputs(network), rtol=0, atol=0)
    # The cache finds every layer's keys at its new place.
    cached, plain = (
        network.generate(IDS, max_new_tokens=5, do_sample=False, use_cache=use, pad_token_id=0)
        for use in (True, False)
    )
    assert cached.tolist() == plain.tolist()
