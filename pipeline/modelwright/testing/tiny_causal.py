"""A tiny Llama with a tokenizer of its own, written as a checkpoint folder; needs no torch."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

LAYERS, HIDDEN, HEADS, KEPT_HEADS, INNER, LENGTH = 2, 64, 4, 2, 128, 64
WIDTH = HIDDEN // HEADS
# Weights this large make attention and layers matter, as in a trained model.
SPREAD = 0.15
END = "<|endoftext|>"
MERGES = (("t", "h"), ("e", "r"), ("i", "n"), ("a", "n"), ("o", "n"), ("th", "e"), ("Ġ", "the"))


def write_tiny_causal(folder: Path, seed: int = 0) -> Path:
    """Write a Llama that `from_pretrained` loads: 2 layers, hidden 64, 4 heads, 2 of keys and values.

    The context is 64 tokens, embeddings are tied, the tokenizer is byte-level BPE. Weights are float32 in
    safetensors, drawn with `seed`.
    """
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = _write_tokenizer(folder)
    save_file(
        _weights(vocabulary, np.random.default_rng(seed)),
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    _write(folder / "config.json", _config(vocabulary))
    _write(folder / "generation_config.json", {"bos_token_id": 0, "eos_token_id": 0})
    return folder


def _write_tokenizer(folder: Path) -> int:
    """Write a byte-level BPE tokenizer with few merges and return the size of its vocabulary."""
    from tokenizers import Tokenizer
    from tokenizers.decoders import ByteLevel as ByteLevelDecoder
    from tokenizers.models import BPE
    from tokenizers.pre_tokenizers import ByteLevel

    texts = [END, *sorted(ByteLevel.alphabet()), *("".join(pair) for pair in MERGES)]
    vocabulary = {text: index for index, text in enumerate(texts)}
    tokenizer = Tokenizer(BPE(vocabulary, list(MERGES)))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = ByteLevelDecoder()
    tokenizer.add_special_tokens([END])
    tokenizer.save(str(folder / "tokenizer.json"))
    _write(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": LENGTH,
            "bos_token": END,
            "eos_token": END,
        },
    )
    return len(vocabulary)


def _weights(vocabulary: int, rng: np.random.Generator) -> dict[str, NDArray[np.float32]]:
    """Llama's tensors by the names transformers gives them."""
    tensors: dict[str, NDArray[np.float32]] = {}

    def matrix(name: str, *shape: int) -> None:
        tensors[f"{name}.weight"] = (rng.standard_normal(shape) * SPREAD).astype(np.float32)

    def norm(name: str) -> None:
        tensors[f"{name}.weight"] = (1 + rng.standard_normal(HIDDEN) * SPREAD).astype(np.float32)

    matrix("model.embed_tokens", vocabulary, HIDDEN)
    for index in range(LAYERS):
        layer = f"model.layers.{index}"
        norm(f"{layer}.input_layernorm")
        matrix(f"{layer}.self_attn.q_proj", HEADS * WIDTH, HIDDEN)
        matrix(f"{layer}.self_attn.k_proj", KEPT_HEADS * WIDTH, HIDDEN)
        matrix(f"{layer}.self_attn.v_proj", KEPT_HEADS * WIDTH, HIDDEN)
        matrix(f"{layer}.self_attn.o_proj", HIDDEN, HEADS * WIDTH)
        norm(f"{layer}.post_attention_layernorm")
        matrix(f"{layer}.mlp.gate_proj", INNER, HIDDEN)
        matrix(f"{layer}.mlp.up_proj", INNER, HIDDEN)
        matrix(f"{layer}.mlp.down_proj", HIDDEN, INNER)
    norm("model.norm")
    return tensors


def _config(vocabulary: int) -> dict[str, object]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": vocabulary,
        "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KEPT_HEADS,
        "head_dim": WIDTH,
        "intermediate_size": INNER,
        "max_position_embeddings": LENGTH,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": True,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "dtype": "float32",
    }


def _write(file: Path, value: object) -> None:
    file.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
