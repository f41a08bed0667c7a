from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from numpy.typing import NDArray

from modelwright.api.model import Model
from modelwright.errors import RecipeError, StageError
from modelwright.testing.absence import run_without
from modelwright.testing.stage_runs import StageRuns
from modelwright_plugins.export.gguf import ExportGGUF

pytest.importorskip("gguf", reason="needs the gguf extra")

Export = Callable[..., Model]
Changed = Callable[..., Model]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"hidden_act": "gelu"}, "activation is gelu"),
        ({"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}, "'dynamic'"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 2.0}}, "lacks low_freq_factor, high_freq_factor"),
        ({"partial_rotary_factor": 0.5}, "Only a part of each head is rotated"),
        ({"num_key_value_heads": 4}, "num_key_value_heads is 4, and the keys have 2 heads"),
        ({"num_attention_heads": 8}, "attn_q.weight .* is 64 x 64; by the configuration it is 128 x 64"),
        ({"intermediate_size": None}, "intermediate_size is None"),
        ({"vocab_size": 300}, "token_embd.weight .* 264 x 64; by the configuration it is 300 x 64"),
        ({"num_hidden_layers": 3}, "lacks blk.2."),
        ({"num_hidden_layers": 1}, "no place for model.layers.1"),
        ({"tie_word_embeddings": False}, "there is no LM head"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(
    changed_causal: Changed, export_gguf: Export, tmp_path: Path, config: dict[str, Any], words: str
) -> None:
    with pytest.raises(RecipeError, match=words) as caught:
        export_gguf(changed_causal(config))
    assert "config.json" in str(caught.value.where) or str(tmp_path) in str(caught.value.where)
    assert not list(tmp_path.glob("export-*/out/*")), "something half written is left"


def test_a_lie_about_tied_embeddings_is_refused(changed_causal: Changed, export_gguf: Export) -> None:
    def other_head(tensors: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        return {**tensors, "lm_head.weight": tensors["model.embed_tokens.weight"] + 1}

    with pytest.raises(
        RecipeError, match="tied to the embeddings, and the checkpoint has an LM head of other"
    ):
        export_gguf(changed_causal(None, other_head))


def test_a_missing_shard_is_named(sharded_causal: Model, export_gguf: Export) -> None:
    (sharded_causal.path / "model-2.safetensors").unlink()
    with pytest.raises(RecipeError, match=r"lacks model-2\.safetensors"):
        export_gguf(sharded_causal)


def test_an_unknown_architecture_is_refused_in_the_plan(tiny_causal: Model) -> None:
    spec = tiny_causal.spec.model_copy(update={"architecture": "BloomForCausalLM"})
    with pytest.raises(RecipeError, match="does not write the architecture BloomForCausalLM") as caught:
        ExportGGUF(type="F16").check(spec)
    assert "LlamaForCausalLM" in str(caught.value.accepted)
    assert "export.onnx" in str(caught.value.hint)


def test_weights_that_overflow_float16_are_refused(changed_causal: Changed, export_gguf: Export) -> None:
    def large(tensors: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        tensors["model.layers.0.mlp.up_proj.weight"][3, 4] = 1e6
        return tensors

    model = changed_causal(None, large)
    with pytest.raises(StageError, match=r"blk\.0\.ffn_up\.weight' does not fit into F16") as caught:
        export_gguf(model, type="F16")
    assert "BF16" in str(caught.value.accepted)
    export_gguf(model, type="BF16")


def test_a_plan_without_llama_cpp_refuses_what_its_quantizer_makes(
    run_stage: StageRuns, tmp_path: Path
) -> None:
    parameters = {"type": "Q4_0", "output_type": "Q6_K"}
    recipe = run_stage.recipe(ExportGGUF, parameters, task="generate")
    command = ["-m", "modelwright", "plan", str(recipe), "--artifacts", str(tmp_path / "artifacts")]
    done = run_without("llama-cpp-python", command, tmp_path / "paths")
    assert done.returncode == 4
    assert "The type Q4_0 with a head of Q6_K is made by llama.cpp's own quantizer" in done.stderr
    assert "pip install 'modelwright[gguf]'" in done.stderr
