"""The trained model as a checkpoint folder: what transformers, tokenizers and safetensors read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from benchmarks.reference.vocabulary import END, PADDING

LARGEST_FILE = 8_000_000


def save(model: Any, tokenizer: Tokenizer, folder: Path) -> None:
    """Write weights, configuration and tokenizer; ValueError where a file is larger than 8,000,000 bytes."""
    from transformers import GenerationConfig

    end, padding = tokenizer.token_to_id(END), tokenizer.token_to_id(PADDING)
    model.generation_config = GenerationConfig(bos_token_id=end, eos_token_id=end, pad_token_id=padding)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": END,
        "eos_token": END,
        "pad_token": PADDING,
        "padding_side": "left",
        "model_max_length": model.config.max_position_embeddings,
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    for file in folder.iterdir():
        file.chmod(0o644)  # safetensors makes its file readable to the owner alone
        if file.stat().st_size > LARGEST_FILE:
            raise ValueError(f"{file} has {file.stat().st_size:,} bytes, more than {LARGEST_FILE:,}")


def continuation(model: Any, tokenizer: Tokenizer, prompt: str, tokens: int) -> str:
    """What the model itself writes after a prompt, at each step the token it finds likeliest."""
    import torch

    ids = torch.tensor([tokenizer.encode(prompt).ids])
    made = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, do_sample=False)
    return tokenizer.decode(made[0, ids.shape[1] :].tolist())
