"""The model that is compared: a Llama of a given shape; random weights take the same time and memory."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

SEED = 0
SHAPES: dict[str, dict[str, Any]] = {
    "135m": {
        "hidden_size": 576,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "intermediate_size": 1536,
        "vocab_size": 49152,
        "tie_word_embeddings": True,
        "rms_norm_eps": 1e-5,
        "max_position_embeddings": 8192,
    },
    "1100m": {
        "hidden_size": 2048,
        "num_hidden_layers": 22,
        "num_attention_heads": 32,
        "num_key_value_heads": 4,
        "intermediate_size": 5632,
        "vocab_size": 32000,
        "tie_word_embeddings": False,
        "rms_norm_eps": 1e-5,
        "max_position_embeddings": 4096,
        "dtype": "bfloat16",
    },
}


def costs(shape: str, batch: int, length: int) -> tuple[float, float]:
    """Floating-point operations of reading prompts, and bytes of weights in bfloat16 that a token reads.

    The head runs on each prompt's last token alone; the embedding is looked up.
    """
    sizes = SHAPES[shape]
    hidden, layers, inner = sizes["hidden_size"], sizes["num_hidden_layers"], sizes["intermediate_size"]
    shared = sizes["num_key_value_heads"] / sizes["num_attention_heads"]
    weights = layers * (2 * hidden**2 * (1 + shared) + 3 * hidden * inner)
    head = sizes["vocab_size"] * hidden
    attention = 2 * layers * hidden * length**2  # two products, of which the causal half counts
    return 2 * weights * batch * length + batch * (attention + 2 * head), 2 * (weights + head)


def write_checkpoint(shape: str, folder: Path) -> Path:
    """A shape's checkpoint with a byte-level tokenizer of its vocabulary; made when not there."""
    digest = hashlib.sha256(json.dumps([SEED, SHAPES[shape]]).encode()).hexdigest()[:8]
    place = folder / f"{shape}-{digest}"
    if (place / "model.safetensors").is_file():
        return place
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(**SHAPES[shape], bos_token_id=0, eos_token_id=0)
    torch.manual_seed(SEED)
    model = LlamaForCausalLM(config).to(config.dtype or torch.float32)
    place.mkdir(parents=True, exist_ok=True)
    # Pairs of bytes fill the vocabulary, each with the merge that makes it: llama.cpp wants some.
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    room = config.vocab_size - len(letters) - 1
    merges = [(first, second) for first in letters for second in letters][:room]
    words = ["<|endoftext|>", *letters, *(first + second for first, second in merges)]
    tokenizer = Tokenizer(models.BPE({word: index for index, word in enumerate(words)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(words[:1])
    tokenizer.save(str(place / "tokenizer.json"))
    (place / "tokenizer_config.json").write_text(
        '{"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|endoftext|>", '
        '"eos_token": "<|endoftext|>"}\n'
    )
    model.save_pretrained(place)
    return place
