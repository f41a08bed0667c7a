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
    end = _end_tokens(path, config, vocabulary)
    anatomy = read_anatomy(path)
    caches = anatomy.caches if anatomy else ()
    windowed = [cache for cache in caches if cache.window is not None]
    return GenerationSpec(
        vocabulary=vocabulary,
        end=end,
        cache_elements=sum(cache.elements for cache in caches) or None,
        windowed_elements=sum(cache.elements for cache in windowed),
        window=max((cache.window or 0 for cache in windowed), default=None),
    )


def _end_tokens(path: Path, config: dict[str, Any], vocabulary: int) -> tuple[int, ...]:
    """Those of generation_config.json where it names any, else those of config.json."""
    own = read_json(path / "generation_config.json")
    for name, values in (("generation_config.json", own), ("config.json", config)):
        found = values.get("eos_token_id")
        if found is None:
            continue
        tokens = found if isinstance(found, list) else [found]
        for token in tokens:
            if isinstance(token, bool) or not isinstance(token, int) or not 0 <= token < vocabulary:
                raise RecipeError(
                    f"The token that ends a text is {token!r}, and the model knows {vocabulary} tokens.",
                    where=str(path / name) + ", key eos_token_id",
                    accepted=f"ids from 0 to {vocabulary - 1}",
                    hint="the file belongs to another checkpoint",
                )
        return tuple(tokens)
    return ()
