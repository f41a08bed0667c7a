"""Whether the stored tensors are those that config.json implies."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Mapping

from modelwright.api.anatomy import Module, Tensor
from modelwright.errors import RecipeError
from modelwright_plugins.anatomy.config import Config
from modelwright_plugins.anatomy.headers import Stored
from modelwright_plugins.anatomy.layout import Layout

# Checkpoints name experts one by one, transformers holds those of a layer in two tensors.
EXPERT = re.compile(r"^(?P<layer>.*?\.?layers\.\d+)\.(?:mlp|block_sparse_moe)\.experts\..*$")
ROUTER = re.compile(r"\.block_sparse_moe\.gate\.")
# Names that checkpoints still have and transformers changes as it loads: BERT's norms, GPT-NeoX's head.
RENAMED = (
    ("LayerNorm.gamma", "LayerNorm.weight"),
    ("LayerNorm.beta", "LayerNorm.bias"),
    ("embed_out.", "lm_head."),
)
# Masks and frequencies that older versions of transformers stored.
IGNORED = re.compile(
    r"(^|\.)(inv_freq|rotary_emb\..*|masked_bias|position_ids|token_type_ids|attn\.bias|attention\.bias)$"
)
KEY_VALUES = re.compile(r"\.(k_proj|v_proj|key|value|query_key_value|c_attn|qkv_proj|Wqkv)\.")


def agree(layout: Layout, stored: Stored, config: Config) -> Layout:
    """The layout with what the files hold beyond it added.

    Raises RecipeError for a tensor whose shape is not the one the config implies (a wrong
    `num_key_value_heads` shows there), and for one the model needs that no file has (a head where
    `tie_word_embeddings` is false).
    """
    base = f"{layout.base}."
    expected = {_canonical(name, base): tensor for name, tensor in _named(layout)}
    actual = {
        _canonical(name, base): entry.shape
        for name, entry in stored.tensors.items()
        if not IGNORED.search(name)
    }
    _check_shapes(expected, actual, config)
    experts = _check_experts(expected, actual, config)
    buffers = {name for name, tensor in expected.items() if tensor.group == "buffer"}
    _check_absent(sorted({*expected} - {*actual} - buffers - experts), config)
    more = {name: actual[name] for name in sorted({*actual} - {*expected} - experts)}
    return _with_more(layout, more, {_canonical(alias, base): alias for alias, _ in layout.tied})


def _named(layout: Layout) -> list[tuple[str, Tensor]]:
    return [
        (f"{module.path}.{tensor.name}" if module.path else tensor.name, tensor)
        for module in layout.modules
        for tensor in module.tensors
    ]


def _canonical(name: str, base: str) -> str:
    for old, new in RENAMED:
        name = name.replace(old, new)
    return ROUTER.sub(".mlp.gate.", name).removeprefix(base)


def _check_shapes(
    expected: Mapping[str, Tensor], actual: Mapping[str, tuple[int, ...]], config: Config
) -> None:
    for name, tensor in expected.items():
        if name not in actual or EXPERT.match(name) or tensor.group == "buffer":
            continue
        if actual[name] != tensor.shape:
            raise RecipeError(
                f"The tensor '{name}' is {_text(actual[name])} in the weights, and config.json implies "
                f"{_text(tensor.shape)}.",
                where=str(config.file),
                hint=_cause(name, tensor, config),
            )


def _cause(name: str, tensor: Tensor, config: Config) -> str:
    if tensor.group == "embedding" and "position" not in name:
        return "compare vocab_size and hidden_size; the config belongs to another checkpoint"
    if KEY_VALUES.search(f".{name}"):
        missing = "" if config.has("num_key_value_heads") else " (which is missing)"
        return f"compare num_key_value_heads{missing}, num_attention_heads and head_dim with its origin"
    return "the config belongs to another checkpoint"


def _check_experts(
    expected: Mapping[str, Tensor], actual: Mapping[str, tuple[int, ...]], config: Config
) -> set[str]:
    """Count the experts of each layer together, because how they are cut into tensors differs.

    Returns the names of all that were counted.
    """
    implied: dict[str, int] = defaultdict(int)
    held: dict[str, int] = defaultdict(int)
    counted = set()
    for name, tensor in expected.items():
        if found := EXPERT.match(name):
            implied[found["layer"]] += tensor.elements
            counted.add(name)
    for name, shape in actual.items():
        if (found := EXPERT.match(name)) and found["layer"] in implied:
            held[found["layer"]] += math.prod(shape)
            counted.add(name)
    for layer, count in implied.items():
        if held[layer] != count:
            raise RecipeError(
                f"The experts of '{layer}' have {held[layer]:,} values in the weights, and config.json "
                f"implies {count:,}.",
                where=str(config.file),
                hint="compare the number of experts and their size with the checkpoint's origin",
            )
    return counted


def _check_absent(absent: list[str], config: Config) -> None:
    if not absent:
        return
    if any(name.startswith("lm_head.") for name in absent):
        raise RecipeError(
            "The weights hold no lm_head, and config.json says that it is not tied to the embedding.",
            where=config.where("tie_word_embeddings"),
            accepted="tie_word_embeddings: true where the head is the embedding table",
            hint="transformers would start such a head at random",
        )
    some = ", ".join(absent[:3]) + (f" and {len(absent) - 3} more" if len(absent) > 3 else "")
    raise RecipeError(
        f"The weights lack tensors that config.json implies: {some}.",
        where=str(config.file),
        hint="the config belongs to another checkpoint, or files are missing",
    )


def _with_more(layout: Layout, more: Mapping[str, tuple[int, ...]], tied: Mapping[str, str]) -> Layout:
    """Stored tensors beyond the config's are counted: a head that was to be tied, and what is unknown."""
    heads = {tied[name]: shape for name, shape in more.items() if name in tied}
    others = {name: shape for name, shape in more.items() if name not in tied}
    modules = list(layout.modules)
    for name, shape in heads.items():
        path, _, last = name.rpartition(".")
        at = next((i for i, module in enumerate(modules) if module.path == path), None)
        matrix = len(shape) == 2
        tensor = Tensor(last, shape, "head" if matrix else "other", shape[-1] if matrix else 0)
        if at is None:
            modules.append(Module(path, (tensor,)))
        else:
            modules[at] = modules[at]._replace(tensors=(*modules[at].tensors, tensor))
    for name, shape in others.items():
        path, _, last = name.rpartition(".")
        modules.append(Module(path, (Tensor(last, shape, "other"),)))
    kept = tuple(pair for pair in layout.tied if pair[0] not in heads)
    return layout._replace(modules=tuple(modules), tied=kept)


def surplus_notes(layout: Layout, seen: Layout) -> tuple[str, ...]:
    """What a reader should know of tensors that `agree` added to a layout."""
    notes = []
    heads = [alias for alias, _ in layout.tied if alias not in {pair[0] for pair in seen.tied}]
    if any(name.endswith("weight") for name in heads):
        notes.append(
            f"config.json ties {heads[0]} to the embedding, and the weights hold one of its own; it is "
            "counted (transformers keeps both where their values differ)"
        )
    before = {name for name, _ in _named(layout)} | set(heads)
    others = [name for name, _ in _named(seen) if name not in before]
    if others:
        notes.append(
            f"{len(others)} tensors are in the weights that this architecture does not have, "
            f"such as {others[0]}; they are counted"
        )
    return tuple(notes)


def _text(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))
