"""What a checkpoint's configuration says of generating with it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from modelwright.api.anatomy import Anatomy
from modelwright.api.model import GenerationSpec
from modelwright.errors import RecipeError
from modelwright_plugins.anatomy.read import read_anatomy
from modelwright_plugins.format.json_file import read_json

NUMBERED = re.compile(r"(?:^|\.)(?P<stack>[a-z_]+)\.(?P<number>\d+)\.")


def describe_generation(path: Path, config: dict[str, Any]) -> GenerationSpec:
    """Vocabulary, end tokens and cache of a causal language model.

    End tokens are those of generation_config.json, or of config.json. Raises RecipeError where config.json
    does not say how wide the vocabulary is, and where the weights have layers past those that it counts.
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
    if anatomy and not config.get("num_nextn_predict_layers"):  # which transformers leaves out
        _require_no_more_layers(anatomy, path)
    caches = anatomy.caches if anatomy else ()
    windowed = [cache for cache in caches if cache.window is not None]
    return GenerationSpec(
        vocabulary=vocabulary,
        end=end,
        cache_elements=sum(cache.elements for cache in caches) or None,
        windowed_elements=sum(cache.elements for cache in windowed),
        window=max((cache.window or 0 for cache in windowed), default=None),
    )


def _require_no_more_layers(anatomy: Anatomy, path: Path) -> None:
    """Raise RecipeError for layers past the last one, which transformers would drop without a word."""
    last: dict[str, int] = {}
    beyond: list[tuple[str, str, int]] = []
    for module in anatomy.modules:
        found = NUMBERED.search(f"{module.path}.")
        if found is None:
            continue
        stack, number = found["stack"], int(found["number"])
        if all(tensor.group == "other" for tensor in module.tensors):
            beyond.append((module.path, stack, number))
        else:
            last[stack] = max(number, last.get(stack, 0))
    for name, stack, number in beyond:
        if number > last.get(stack, number):
            raise RecipeError(
                f"The weights hold '{name}', and config.json's last layer is {last[stack]}.",
                where=str(path / "config.json"),
                hint="compare the number of layers with the checkpoint's origin",
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
