"""What a checkpoint's configuration says of generating with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from modelwright.api.model import GenerationSpec
from modelwright.errors import RecipeError
from modelwright_plugins.format.json_file import read_json


def describe_generation(path: Path, config: dict[str, Any]) -> GenerationSpec:
    """Vocabulary, end tokens and cache of a causal language model.

    End tokens are those of generation_config.json, or of config.json. Raises RecipeError where config.json
    does not say how wide the vocabulary is.
    """
    vocabulary = config.get("vocab_size")
    if not isinstance(vocabulary, int) or vocabulary < 1:
        raise RecipeError(
            f"The configuration's vocab_size is {vocabulary!r}.",
            where=str(path / "config.json"),
            accepted="the number of tokens the model embeds",
        )
    end = read_json(path / "generation_config.json").get("eos_token_id", config.get("eos_token_id"))
    tokens = end if isinstance(end, list) else [end]
    window = config.get("sliding_window") if config.get("use_sliding_window", True) else None
    return GenerationSpec(
        vocabulary=vocabulary,
        end=tuple(token for token in tokens if isinstance(token, int) and 0 <= token < vocabulary),
        cache_elements=_cache_elements(config),
        window=window if isinstance(window, int) else None,
    )


def _first(config: dict[str, Any], *keys: str) -> int | None:
    found = (config.get(key) for key in keys)
    return next((value for value in found if isinstance(value, int) and value > 0), None)


def _cache_elements(config: dict[str, Any]) -> int | None:
    """Numbers kept per token over all layers; None where the configuration does not say."""
    layers = _first(config, "num_hidden_layers", "n_layer", "n_layers")
    hidden = _first(config, "hidden_size", "n_embd", "d_model")
    heads = _first(config, "num_attention_heads", "n_head", "n_heads")
    if layers is None or hidden is None or heads is None or "kv_lora_rank" in config:
        return None
    kept = _first(config, "num_key_value_heads", "num_kv_heads") or heads
    if config.get("multi_query") and not config.get("new_decoder_architecture"):
        kept = 1
    width = _first(config, "head_dim") or hidden // heads
    return 2 * layers * kept * width
