"""Tiny checkpoints of families that neither the tiny BERT nor the tiny Llama is of."""

from __future__ import annotations

import shutil
from pathlib import Path

from modelwright.api.model import Model
from modelwright.testing.tiny_causal import write_tiny_causal
from tests.plugins.tiny_llama import open_checkpoint


def save_tiny_gpt2(folder: Path) -> Model:
    """A GPT-2 of two layers with the tiny Llama's tokenizer."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    tokenizer = write_tiny_causal(folder.with_name("tokenizer"))
    config = GPT2Config(
        n_embd=32, n_layer=2, n_head=4, vocab_size=264, n_positions=64, bos_token_id=0, eos_token_id=0
    )
    torch.manual_seed(0)
    GPT2LMHeadModel(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(tokenizer / name, folder / name)
    return open_checkpoint(folder)
