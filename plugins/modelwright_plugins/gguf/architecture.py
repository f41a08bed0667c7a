"""Which Hugging Face architectures llama.cpp computes alike, and what their configuration becomes in GGUF."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelwright.errors import RecipeError

if TYPE_CHECKING:
    from gguf import GGUFWriter


@dataclass(frozen=True)
class Architecture:
    """One family: its name in gguf, and how its checkpoint differs from what llama.cpp computes with.

    `interleaved`: llama.cpp rotates neighbouring dimensions and the checkpoint the two halves, so that the
    rows of queries and keys are permuted. `frequency_factors`: it reads them from a tensor, which Llama 3's
    scaling takes. `scaled`: Granite's four multipliers. `biases` are the matrices that may have one.
    `unrotated`: every so many layers keep no positions. `activation` is the only one it computes.
    """

    gguf: str
    interleaved: bool = False
    frequency_factors: bool = False
    scaled: bool = False
    biases: tuple[str, ...] = ()
    unrotated: int | None = None
    activation: str = "silu"


_ATTENTION = ("attn_q", "attn_k", "attn_v")
_LLAMA = Architecture(
    "LLAMA",
    interleaved=True,
    frequency_factors=True,
    biases=(*_ATTENTION, "attn_output", "ffn_gate", "ffn_up", "ffn_down"),
)
ARCHITECTURES = {
    "LlamaForCausalLM": _LLAMA,
    "MistralForCausalLM": _LLAMA,
    "Qwen2ForCausalLM": Architecture("QWEN2", biases=_ATTENTION),
    "Qwen3ForCausalLM": Architecture("QWEN3"),
    "SmolLM3ForCausalLM": Architecture("SMOLLM3", interleaved=True, unrotated=4),
    "Olmo2ForCausalLM": Architecture("OLMO2"),
    "GraniteForCausalLM": Architecture("GRANITE", interleaved=True, scaled=True),
}


def find_architecture(name: str, where: str) -> Architecture:
    """The family of an architecture. Raises RecipeError when there is none."""
    if name not in ARCHITECTURES:
        raise RecipeError(
            f"export.gguf does not write the architecture {name}.",
            where=where,
            accepted=", ".join(ARCHITECTURES),
            hint="export.onnx takes every causal language model that it can trace",
        )
    return ARCHITECTURES[name]


@dataclass(frozen=True)
class Shape:
    """The sizes of a model, read from config.json.

    `context` is the longest text in tokens: no longer than a sliding window, which llama.cpp does not keep
    to for these architectures.
    """

    layers: int
    hidden: int
    heads: int
    inner: int
    vocabulary: int
    width: int
    context: int
    window: int | None
    epsilon: float
    tied: bool


def read_shape(config: Mapping[str, Any], family: Architecture, where: str) -> Shape:
    """Sizes by Llama's names. Raises RecipeError for what is lacking or not computed by llama.cpp."""
    activation = config.get("hidden_act", "silu")
    if activation != family.activation:
        raise RecipeError(
            f"The activation is {activation}, and llama.cpp computes {family.activation} there.",
            where=f"{where}, key hidden_act",
        )
    _check_unrotated(config, family, where)
    hidden, heads = _whole(config, "hidden_size", where), _whole(config, "num_attention_heads", where)
    context, window = _whole(config, "max_position_embeddings", where), _window(config)
    epsilon = config.get("rms_norm_eps", 1e-6)
    return Shape(
        layers=_whole(config, "num_hidden_layers", where),
        hidden=hidden,
        heads=heads,
        inner=_whole(config, "intermediate_size", where),
        vocabulary=_whole(config, "vocab_size", where),
        width=config.get("head_dim") or hidden // heads,
        context=min(context, window or context),
        window=window if window is not None and window < context else None,
        epsilon=float(epsilon),
        tied=bool(config.get("tie_word_embeddings", _TIED.get(str(config.get("model_type")), False))),
    )


# What transformers assumes where config.json does not say.
_TIED = {"smollm3": True}


def write_shape(
    writer: GGUFWriter, shape: Shape, kept_heads: int, config: Mapping[str, Any], family: Architecture
) -> None:
    """The architecture's own metadata; `kept_heads` are those of keys and values."""
    writer.add_vocab_size(shape.vocabulary)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.hidden)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.inner)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(kept_heads)
    writer.add_key_length(shape.width)
    writer.add_value_length(shape.width)
    writer.add_rope_dimension_count(shape.width)
    writer.add_layer_norm_rms_eps(shape.epsilon)
    if family.scaled:
        writer.add_attention_scale(float(config.get("attention_multiplier", 1.0)))
        writer.add_embedding_scale(float(config.get("embedding_multiplier", 1.0)))
        writer.add_residual_scale(float(config.get("residual_multiplier", 1.0)))
        writer.add_logit_scale(float(config.get("logits_scaling", 1.0)))


def _check_unrotated(config: Mapping[str, Any], family: Architecture, where: str) -> None:
    """llama.cpp has the interval in its code; in the configuration a layer is 1 where it is rotated."""
    if family.unrotated is None:
        return
    layers = config.get("no_rope_layers")
    interval = config.get("no_rope_layer_interval", family.unrotated)
    fixed = [int((layer + 1) % family.unrotated != 0) for layer in range(len(layers or ()))]
    if (layers or fixed) != fixed or (not layers and interval != family.unrotated):
        raise RecipeError(
            f"llama.cpp leaves every {family.unrotated}th layer of this architecture without positions, and "
            "the configuration leaves others.",
            where=f"{where}, key no_rope_layers",
        )


def _window(config: Mapping[str, Any]) -> int | None:
    window = config.get("sliding_window") if config.get("use_sliding_window", True) else None
    return window if isinstance(window, int) and window > 0 else None


def _whole(config: Mapping[str, Any], key: str, where: str) -> int:
    value = config.get(key)
    if not isinstance(value, int) or value < 1:
        raise RecipeError(
            f"The configuration's {key} is {value!r}.", where=where, accepted="a whole number above 0"
        )
    return value
