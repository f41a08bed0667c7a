"""Variations of the tiny Llama, as checkpoint folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from modelwright.api.model import Model
from modelwright.digest import digest_folder
from modelwright.testing.tiny_causal import write_tiny_causal
from modelwright_plugins.format.checkpoint import describe_checkpoint


def save_tiny_llama(
    folder: Path, *, length: int = 256, head: bool = False, kv_heads: int = 2, seed: int = 0, **config: Any
) -> Model:
    """Two layers, hidden 64, four heads. `head` adds an LM head of its own; `config` changes config.json."""
    from safetensors.numpy import load_file, save_file

    write_tiny_causal(folder, seed)
    weights = load_file(folder / "model.safetensors")
    rng = np.random.default_rng(seed + 1)

    def draw(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape) * 0.15).astype(np.float32)

    if kv_heads != 2:
        for layer in range(2):
            for name in ("k_proj", "v_proj"):
                weights[f"model.layers.{layer}.self_attn.{name}.weight"] = draw(kv_heads * 16, 64)
    if head:
        weights["lm_head.weight"] = draw(264, 64)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    change_json(
        folder / "config.json",
        max_position_embeddings=length,
        num_key_value_heads=kv_heads,
        **{"tie_word_embeddings": not head, **config},
    )
    change_json(folder / "tokenizer_config.json", model_max_length=length)
    return open_checkpoint(folder)


def open_checkpoint(folder: Path) -> Model:
    """A handle on a checkpoint folder."""
    return Model(folder, describe_checkpoint(folder, trust_remote_code=False), digest_folder(folder))


def change_json(file: Path, **changes: Any) -> None:
    """Set keys of a JSON file; None removes one."""
    values = {**json.loads(file.read_text()), **changes}
    file.write_text(json.dumps({key: value for key, value in values.items() if value is not None}))
