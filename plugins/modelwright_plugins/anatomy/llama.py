"""Llama's decoder, with the traits of the families built on it."""

from __future__ import annotations

from collections.abc import Callable

from modelwright.api.anatomy import LayerCache, Shape, Tensor
from modelwright_plugins.anatomy.config import Config
from modelwright_plugins.anatomy.heads import Heads, layer_windows, partial_rotary, read_heads
from modelwright_plugins.anatomy.layout import HEAD, Layout
from modelwright_plugins.anatomy.mlp import gated_inner_copies, plain_inner_copies
from modelwright_plugins.anatomy.parts import Parts
from modelwright_plugins.anatomy.traits import Bias, Traits

# Writes the attention or the MLP of the layer with a number.
Piece = Callable[[Parts, int], None]


def decoder(
    config: Config,
    traits: Traits,
    *,
    mlp: Piece | None = None,
    attention: Piece | None = None,
    heads: Heads | None = None,
    caches: tuple[LayerCache, ...] | None = None,
    inner_held: tuple[int, int] | None = None,
) -> Layout:
    """A stack of pre-normalized layers with an embedding below and a head above.

    `mlp` and `attention` write those of a layer where they are not the family's plain ones; `heads` and
    `caches` then come with them, and `inner_held` is the width one token passes and how often it is held.
    """
    hidden, vocabulary = config.count("hidden_size"), config.count("vocab_size")
    layers = config.layers("num_hidden_layers")
    inner, copies = inner_held or _inner_held(config, traits)
    heads = heads or read_heads(config, hidden, without=traits.without, head_dim=traits.head_dim)
    tied = config.flag("tie_word_embeddings", traits.tie)
    parts = Parts()
    with parts.inside("model"):
        _embedding(parts, traits, vocabulary, hidden)
        for index in range(layers):
            with parts.layer(f"layers.{index}"):
                if attention is None:
                    _attention(parts, config, traits, hidden, heads)
                else:
                    attention(parts, index)
                if mlp is None:
                    _mlp(parts, config, traits, hidden, inner)
                else:
                    mlp(parts, index)
                for name in traits.norms:
                    _norm(parts, traits, name, hidden)
        _norm(parts, traits, "norm", hidden)
        parts.rotary("rotary_emb", _rotated(config, traits, heads.dim), traits.rotary_kinds)
    parts.head(hidden, vocabulary, tied=tied)
    return Layout(
        modules=tuple(parts.modules),
        shape=Shape(
            layers=layers,
            hidden=hidden,
            intermediate=inner,
            heads=heads.queries,
            kv_heads=heads.key_values,
            head_dim=heads.dim,
            value_dim=heads.dim,
            vocabulary=vocabulary,
            context_length=config.count("max_position_embeddings", default=0, least=0) or None,
            inner_copies=copies,
            fused_attention=traits.fused_attention,
            generates=True,
        ),
        base="model",
        tied=((HEAD, "model.embed_tokens.weight"),) if tied else (),
        caches=heads.caches(layers, _windows(config, traits, layers)) if caches is None else caches,
    )


def _embedding(parts: Parts, traits: Traits, vocabulary: int, hidden: int) -> None:
    scale = (Tensor("embed_scale", (), "buffer"),) if traits.scaled_embedding else ()
    parts.add("embed_tokens", Tensor("weight", (vocabulary, hidden), "embedding"), *scale)


def _attention(parts: Parts, config: Config, traits: Traits, hidden: int, heads: Heads) -> None:
    with parts.inside("self_attn"):
        if traits.fused:
            parts.linear("o_proj", heads.query_width, hidden)
            parts.linear("qkv_proj", hidden, heads.query_width + 2 * heads.kv_width)
            return
        bias = _bias(config, traits.qkv_bias)
        parts.linear("q_proj", hidden, heads.query_width, bias=bias)
        parts.linear("k_proj", hidden, heads.kv_width, bias=bias)
        parts.linear("v_proj", hidden, heads.kv_width, bias=bias)
        parts.linear("o_proj", heads.query_width, hidden, bias=_bias(config, traits.out_bias))
        if traits.qk_norm:
            full = traits.qk_norm == "full"
            parts.norm("q_norm", heads.query_width if full else heads.dim)
            parts.norm("k_norm", heads.kv_width if full else heads.dim)


def _mlp(parts: Parts, config: Config, traits: Traits, hidden: int, inner: int) -> None:
    bias = _bias(config, traits.mlp_bias)
    if traits.fused:
        parts.linear("mlp.gate_up_proj", hidden, 2 * inner)
        parts.linear("mlp.down_proj", inner, hidden)
    elif traits.gated:
        parts.gated_mlp("mlp", hidden, inner, bias=bias)
    else:
        parts.linear("mlp.c_fc", hidden, inner, bias=bias)
        parts.linear("mlp.c_proj", inner, hidden, bias=bias)


def _norm(parts: Parts, traits: Traits, path: str, width: int) -> None:
    if traits.norm == "plain":
        parts.add(path)
    else:
        parts.norm(path, width, bias=traits.norm == "layer")


def _bias(config: Config, bias: Bias) -> bool:
    return bias if isinstance(bias, bool) else config.flag(*bias)


def _rotated(config: Config, traits: Traits, dim: int) -> int:
    return int(dim * partial_rotary(config, traits.rotated))


def _inner_held(config: Config, traits: Traits) -> tuple[int, int]:
    width = config.count("intermediate_size")
    if traits.gated:
        return width, gated_inner_copies(traits.fused)
    return width, plain_inner_copies(config, "hidden_act")


def _windows(config: Config, traits: Traits, layers: int) -> tuple[int | None, ...]:
    if traits.window == "never":
        return (None,) * layers
    if "sliding_window" not in config.values and traits.window_default:
        config = Config({**config.values, "sliding_window": traits.window_default}, config.file)
    if traits.window == "flag":
        return layer_windows(config, layers, only_if="use_sliding_window")
    if traits.window == "sixth":
        return layer_windows(
            config,
            layers,
            period=config.count("sliding_window_pattern", "_sliding_window_pattern", default=6),
        )
    return layer_windows(config, layers, period=2 if traits.window == "second" else None)
