"""Predicted activations against the bytes that tensors hold while the model runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modelwright.planning.activations import Attention, activations
from modelwright_plugins.anatomy.read import read_anatomy
from tests.plugins.anatomy.live_memory import LiveMemory
from tests.plugins.anatomy.meta import config_of, torch, transformers

BATCH, LENGTH = 2, 96
WITHIN = 0.15
SIZE = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 256,
    "vocab_size": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "max_position_embeddings": 256,
}
GPT = {"n_embd": 64, "n_layer": 2, "n_head": 4, "vocab_size": 64, "n_positions": 256}
MODELS: dict[str, dict[str, Any]] = {
    "llama": {"model_type": "llama", **SIZE, "num_key_value_heads": 2},
    "llama-wide-vocabulary": {"model_type": "llama", **SIZE, "vocab_size": 4000},
    "gemma2": {
        "model_type": "gemma2",
        **SIZE,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "sliding_window": 512,
    },
    "gpt2": {"model_type": "gpt2", **GPT},
    "gpt_bigcode": {"model_type": "gpt_bigcode", **GPT},
    "gpt_neox": {"model_type": "gpt_neox", **SIZE},
    "bloom": {"model_type": "bloom", "hidden_size": 64, "n_layer": 2, "n_head": 4, "vocab_size": 64},
    "mpt": {"model_type": "mpt", "d_model": 64, "n_layers": 2, "n_heads": 4, "vocab_size": 64},
    "falcon": {"model_type": "falcon", **SIZE, "new_decoder_architecture": True, "num_kv_heads": 2},
    "phi": {"model_type": "phi", **SIZE},
    "phi3": {"model_type": "phi3", **SIZE, "num_key_value_heads": 2},
    "mixtral": {
        "model_type": "mixtral",
        **SIZE,
        "num_key_value_heads": 2,
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
    },
    "bert": {"model_type": "bert", **SIZE},
}
EAGER_ONLY = ("bloom", "mpt", "gemma2")
CASES = [(name, kind) for name in MODELS for kind in ("fused", "eager") if (name, kind) not in
         [(only, "fused") for only in EAGER_ONLY]]  # fmt: skip


def measured(values: dict[str, Any], attention: Attention, dtype: Any, **arguments: Any) -> int:
    """Bytes alive at the peak of one forward pass, without the cache it leaves behind."""
    bare = values["model_type"] == "bert"
    auto = transformers.AutoModel if bare else transformers.AutoModelForCausalLM
    kernel = "sdpa" if attention == "fused" else "eager"
    torch.manual_seed(0)
    model = auto.from_config(config_of(values), dtype=dtype, attn_implementation=kernel).eval()
    ids = torch.randint(3, 60, (BATCH, LENGTH))
    memory = LiveMemory()
    memory.ignore(ids, *model.parameters(), *model.buffers())
    with torch.inference_mode(), memory:
        output = model(ids, **arguments)
    cache = getattr(output, "past_key_values", None)
    held = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers) if cache else 0
    return memory.peak - held


@pytest.mark.parametrize(("name", "attention"), CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def test_the_peak_of_a_prompt(name: str, attention: Attention, dtype: Any, tmp_path: Path):
    (tmp_path / "config.json").write_text(json.dumps(MODELS[name]))
    anatomy = read_anatomy(tmp_path)
    assert anatomy is not None
    predicted = activations(anatomy, BATCH, LENGTH, dtype.itemsize, attention)
    assert predicted is not None
    arguments = {"use_cache": True, "logits_to_keep": 1} if anatomy.shape.generates else {}
    actual = measured(MODELS[name], attention, dtype, **arguments)
    peak = predicted.generate if anatomy.shape.generates else predicted.forward
    assert peak == pytest.approx(actual, rel=WITHIN)


def test_every_tokens_logits_count_where_they_are_kept(tmp_path: Path):
    values = MODELS["llama-wide-vocabulary"]
    (tmp_path / "config.json").write_text(json.dumps(values))
    anatomy = read_anatomy(tmp_path)
    assert anatomy is not None
    predicted = activations(anatomy, BATCH, LENGTH, 4, "fused")
    assert predicted is not None
    actual = measured(values, "fused", torch.float32, use_cache=False)
    assert predicted.forward == pytest.approx(actual, rel=WITHIN)
    assert predicted.forward > 3 * predicted.generate
