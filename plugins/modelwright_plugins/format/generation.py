"""What a checkpoint's configuration says of generating with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from modelwright.api.model import GenerationSpec
from modelwright.errors import RecipeError
from modelwright_plugins.anatomy.read import read_anatomy
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
    anatomy = read_anatomy(path)
    caches = anatomy.caches if anatomy else ()
    windows = {cache.window for cache in caches}
    return GenerationSpec(
        vocabulary=vocabulary,
        end=tuple(token for token in tokens if isinstance(token, int) and 0 <= token < vocabulary),
        cache_elements=sum(cache.elements for cache in caches) or None,
        # A window that only some layers have limits nothing: the others keep everything.
        window=windows.pop() if len(windows) == 1 else None,
    )
