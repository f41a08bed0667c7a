from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelwright.api.model import Model
from modelwright.digest import digest_folder
from modelwright.errors import StageError
from modelwright.testing.tiny_causal import write_tiny_causal
from modelwright_plugins.export.onnx import ExportOnnx
from modelwright_plugins.format.onnx import Onnx
from modelwright_plugins.format.torch import Torch
from tests.plugins.export.causal_steps import largest_difference
from tests.plugins.stage_context import FolderContext

pytest.importorskip("onnxscript", reason="needs the export extra")
pytest.importorskip("onnxruntime", reason="needs onnxruntime")

GPT = {"n_embd": 64, "n_layer": 2, "n_head": 4}
LLAMA = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 128,
    "max_position_embeddings": 64,
}
# transformers' configuration, its sizes, and the operators expected in two layers.
ARCHITECTURES: dict[str, tuple[str, dict[str, Any], dict[str, int]]] = {
    "alibi, own attention code": (
        "BloomConfig",
        {"hidden_size": 64, "n_layer": 2, "n_head": 4},
        {"GroupQueryAttention": 0},
    ),
    "alibi, MPT": (
        "MptConfig",
        {"d_model": 64, "n_layers": 2, "n_heads": 4, "max_seq_len": 64},
        {"GroupQueryAttention": 0},
    ),
    "learned positions": ("GPT2Config", {**GPT, "n_positions": 64}, {"GroupQueryAttention": 2}),
    "learned positions from the mask": (
        "OPTConfig",
        {
            "hidden_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "ffn_dim": 128,
            "max_position_embeddings": 64,
            "word_embed_proj_dim": 64,
        },
        {"GroupQueryAttention": 2},
    ),
    "sinusoidal positions": (
        "XGLMConfig",
        {
            "d_model": 64,
            "num_layers": 2,
            "attention_heads": 4,
            "ffn_dim": 128,
            "max_position_embeddings": 64,
        },
        {"GroupQueryAttention": 0},
    ),
    "partial rotary": ("PhiConfig", LLAMA, {"GroupQueryAttention": 2, "RotaryEmbedding": 4}),
    "capped scores and a window": (
        "Gemma2Config",
        {**LLAMA, "head_dim": 16, "sliding_window": 8},
        {"GroupQueryAttention": 2, "RotaryEmbedding": 4},
    ),
    "head width of 12": ("LlamaConfig", {**LLAMA, "hidden_size": 48}, {"Attention": 2}),
}


def random_checkpoint(folder: Path, config: str, sizes: dict[str, Any]) -> Model:
    """A checkpoint of random weights with the tiny model's tokenizer."""
    import torch
    import transformers

    write_tiny_causal(folder)
    settings = {"vocab_size": 264, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0, **sizes}
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(getattr(transformers, config)(**settings))
    with torch.no_grad():
        for parameter in model.parameters():
            # Large enough that positions and attention change the tokens.
            spread = torch.randn_like(parameter)
            parameter.copy_(spread * 0.15 if parameter.ndim > 1 else parameter + spread * 0.1)
    model.save_pretrained(folder)
    return Model(folder, Torch().describe(folder), digest_folder(folder))


@pytest.fixture
def checkpoint(tmp_path: Path) -> Callable[[str], Model]:
    return lambda name: random_checkpoint(tmp_path / "checkpoint", *ARCHITECTURES[name][:2])


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_logits_and_greedy_tokens_equal_pytorch(
    name: str, checkpoint: Callable[[str], Model], tmp_path: Path
) -> None:
    model = checkpoint(name)
    exported = FolderContext(tmp_path / "run").apply(ExportOnnx(), model)
    assert largest_difference(exported, model, new_tokens=16) < 1e-4
    operators = Onnx().graph_operators(exported)
    expected = ARCHITECTURES[name][2]
    assert {operator: operators.get(operator, 0) for operator in expected} == expected


def test_attention_that_has_to_be_fused_and_is_not_fails_the_step(
    checkpoint: Callable[[str], Model], tmp_path: Path
) -> None:
    context = FolderContext(tmp_path / "run")
    with pytest.raises(StageError, match="in 0 of 2 layers: the model has attention code of its own"):
        context.apply(ExportOnnx(require_fused=True), checkpoint("alibi, own attention code"))
    assert not list(context.out.glob("model.onnx*"))


def test_a_rotary_model_has_to_be_fused_unless_the_recipe_says_otherwise(
    checkpoint: Callable[[str], Model], tmp_path: Path
) -> None:
    model = checkpoint("capped scores and a window")
    with pytest.raises(StageError, match="caps scores after the mask"):
        FolderContext(tmp_path / "fails").apply(ExportOnnx(attention="attention"), model)
    written = FolderContext(tmp_path / "run").apply(
        ExportOnnx(attention="attention", require_fused=False), model
    )
    assert largest_difference(written, model, new_tokens=12) < 1e-4
