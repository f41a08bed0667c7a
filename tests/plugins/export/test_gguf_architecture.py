"""What llama.cpp computes from an exported file against transformers, architecture by architecture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelwright.api.model import Model
from modelwright.api.target import Target
from modelwright.errors import RecipeError
from modelwright.testing.tiny_causal import write_tiny_causal
from modelwright_plugins.export.gguf import ExportGGUF
from modelwright_plugins.format.gguf_runner import GGUFRunner
from modelwright_plugins.format.torch import Torch
from modelwright_plugins.format.torch_causal_runner import TorchCausalRunner
from tests.plugins.stage_context import FolderContext

torch = pytest.importorskip("torch", reason="needs PyTorch")
transformers = pytest.importorskip("transformers", reason="needs transformers")
pytest.importorskip("gguf", reason="needs the gguf extra")

TARGET = Target(threads=1)
LENGTH = 120
SIZES: dict[str, Any] = {
    "hidden_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 96,
    "vocab_size": 264,
    "max_position_embeddings": 256,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": None,
    "initializer_range": 0.15,
}
ROPE = {"rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 64}
LLAMA3 = {**ROPE, "rope_type": "llama3", "low_freq_factor": 1.0, "high_freq_factor": 4.0}
GRANITE = {
    "attention_multiplier": 0.2,
    "embedding_multiplier": 3.0,
    "residual_multiplier": 0.5,
    "logits_scaling": 2.0,
}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", {}),
    "llama with biases and wide heads": (
        "LlamaConfig",
        {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True, "head_dim": 32},
    ),
    "llama 3": ("LlamaConfig", {"rope_parameters": LLAMA3}),
    "linear": ("LlamaConfig", {"rope_parameters": {**ROPE, "rope_type": "linear"}}),
    "yarn": ("Qwen2Config", {"rope_parameters": {**ROPE, "rope_type": "yarn"}}),
    "mistral": ("MistralConfig", {"sliding_window": None}),
    "qwen2": ("Qwen2Config", {"tie_word_embeddings": True}),
    "qwen3": ("Qwen3Config", {"head_dim": 32}),
    "smollm3": ("SmolLM3Config", {}),
    "olmo2": ("Olmo2Config", {}),
    "granite": ("GraniteConfig", GRANITE),
}


def save(folder: Path, config_class: str, changes: dict[str, Any]) -> Model:
    """A model of random weights, norms and biases included, with the tiny tokenizer."""
    write_tiny_causal(folder)
    (folder / "generation_config.json").unlink()
    torch.manual_seed(0)
    config = getattr(transformers, config_class)(**{**SIZES, **changes})
    model = transformers.AutoModelForCausalLM.from_config(config)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, 1.0 if "norm" in name else 0.0, 0.2)
    model.save_pretrained(folder)
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "model_max_length": 256}))
    return Model(folder, Torch().describe(folder), "")


@pytest.mark.parametrize("case", CASES)
def test_logits_equal_pytorch_at_every_position(case: str, tmp_path: Path) -> None:
    pytest.importorskip("llama_cpp", reason="needs llama-cpp-python")
    model = save(tmp_path / "model", *CASES[case])
    stage = ExportGGUF(type="F32", cache_precision="f32")
    exported = FolderContext(tmp_path / "export").apply(stage, model)
    ours, theirs = GGUFRunner(exported, TARGET), TorchCausalRunner(model, TARGET)
    inputs = theirs.sample(2, LENGTH)
    np.testing.assert_allclose(ours.logits(inputs), theirs.logits(inputs), atol=5e-5)


@pytest.mark.parametrize(
    ("config_class", "changes", "words"),
    [
        ("Qwen3Config", {"attention_bias": True}, "adds no bias where the checkpoint has blk.0.attn"),
        ("SmolLM3Config", {"no_rope_layers": [1, 0, 1, 0]}, "leaves every 4th layer"),
        ("Qwen2Config", {"rope_parameters": LLAMA3}, "does not scale rotary positions of Qwen2ForCausalLM"),
        (
            "LlamaConfig",
            {"rope_parameters": {**ROPE, "rope_type": "yarn", "attention_factor": 1.0}},
            "YaRN with attention_factor",
        ),
    ],
)
def test_what_llama_cpp_does_not_compute_is_refused(
    config_class: str, changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    model = save(tmp_path / "model", config_class, changes)
    with pytest.raises(RecipeError, match=words):
        FolderContext(tmp_path / "export").apply(ExportGGUF(type="F16"), model)
