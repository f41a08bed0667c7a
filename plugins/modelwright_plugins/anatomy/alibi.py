"""Decoders of the ALiBi years: BLOOM, MPT and Falcon (which may rotate instead)."""

from __future__ import annotations

from modelwright.api.anatomy import Shape
from modelwright.errors import RecipeError
from modelwright_plugins.anatomy.config import Config
from modelwright_plugins.anatomy.gpt import gpt_shape
from modelwright_plugins.anatomy.heads import Heads, divide
from modelwright_plugins.anatomy.layout import HEAD, Layout
from modelwright_plugins.anatomy.parts import Parts


def bloom(config: Config) -> Layout:
    """Layer norms on the embedding too; heads fused into one projection; always 4 x hidden inside."""
    hidden, layers = config.count("hidden_size", "n_embed"), config.layers("n_layer", "num_hidden_layers")
    queries, vocabulary = config.count("n_head", "num_attention_heads"), config.count("vocab_size")
    heads = Heads(queries, queries, divide(config, "n_head", hidden, queries))
    parts = Parts()
    with parts.inside("transformer"):
        parts.embedding("word_embeddings", vocabulary, hidden)
        parts.norm("word_embeddings_layernorm", hidden, bias=True)
        for index in range(layers):
            with parts.layer(f"h.{index}"):
                parts.norm("input_layernorm", hidden, bias=True)
                parts.linear("self_attention.query_key_value", hidden, 3 * hidden, bias=True)
                parts.linear("self_attention.dense", hidden, hidden, bias=True)
                parts.norm("post_attention_layernorm", hidden, bias=True)
                parts.linear("mlp.dense_h_to_4h", hidden, 4 * hidden, bias=True)
                parts.linear("mlp.dense_4h_to_h", 4 * hidden, hidden, bias=True)
        parts.norm("ln_f", hidden, bias=True)
    length = config.count("seq_length", default=0, least=0) or None
    shape = gpt_shape(
        layers,
        hidden,
        4 * hidden,
        heads,
        vocabulary,
        length,
        inner_copies=4,
        fused_attention=False,
        score_values=2,
    )
    return _finish(config, parts, shape, heads, "word_embeddings")


def mpt(config: Config) -> Layout:
    """No biases at all, norms without a shift."""
    hidden, layers = config.count("d_model", "hidden_size"), config.layers("n_layers", "num_hidden_layers")
    queries, vocabulary = config.count("n_heads", "num_attention_heads"), config.count("vocab_size")
    heads = Heads(queries, queries, divide(config, "n_heads", hidden, queries))
    if config.within("attn_config").flag("qk_ln", False):
        raise RecipeError(
            "MPT with normalized queries and keys is not served.", where=config.where("attn_config.qk_ln")
        )
    inner = config.count("expansion_ratio", default=4) * hidden
    parts = Parts()
    with parts.inside("transformer"):
        parts.embedding("wte", vocabulary, hidden)
        for index in range(layers):
            with parts.layer(f"blocks.{index}"):
                parts.norm("norm_1", hidden)
                parts.linear("attn.Wqkv", hidden, 3 * hidden)
                parts.linear("attn.out_proj", hidden, hidden)
                parts.norm("norm_2", hidden)
                parts.linear("ffn.up_proj", hidden, inner)
                parts.linear("ffn.down_proj", inner, hidden)
        parts.norm("norm_f", hidden)
    length = config.count("max_seq_len", default=0, least=0) or None
    shape = gpt_shape(layers, hidden, inner, heads, vocabulary, length, fused_attention=False, score_bytes=12)
    return _finish(config, parts, shape, heads, "wte")


def falcon(config: Config) -> Layout:
    """Multi-query (7B) or, with the new decoder architecture (40B, 180B), grouped-query attention."""
    hidden, layers = config.count("hidden_size", "n_embed"), config.layers("num_hidden_layers", "n_layer")
    queries, vocabulary = config.count("num_attention_heads", "n_head"), config.count("vocab_size")
    new, bias = config.flag("new_decoder_architecture", False), config.flag("bias", False)
    parallel = config.flag("parallel_attn", True)
    if new:
        shared = config.count("num_kv_heads", "n_head_kv", default=queries)
    else:
        shared = 1 if config.flag("multi_query", True) else queries
    dim = divide(config, "num_attention_heads", hidden, queries)
    if queries % shared:
        raise RecipeError(
            f"{queries} query heads cannot share {shared} key-value heads evenly.",
            where=config.where("num_kv_heads"),
            accepted=f"a divisor of {queries}",
        )
    heads = Heads(queries, shared, dim)
    inner = config.count("ffn_hidden_size", default=4 * hidden)
    # The two norms of the new architecture may be merged into one (Falcon2-11B).
    norms = config.count("num_ln_in_parallel_attn", default=2 if new else 1)
    parts = Parts()
    with parts.inside("transformer"):
        parts.embedding("word_embeddings", vocabulary, hidden)
        for index in range(layers):
            with parts.layer(f"h.{index}"):
                fused = heads.query_width + 2 * heads.kv_width
                parts.linear("self_attention.query_key_value", hidden, fused, bias=bias)
                parts.linear("self_attention.dense", hidden, hidden, bias=bias)
                parts.linear("mlp.dense_h_to_4h", hidden, inner, bias=bias)
                parts.linear("mlp.dense_4h_to_h", inner, hidden, bias=bias)
                if new and norms == 2:
                    parts.norm("ln_attn", hidden, bias=True)
                    parts.norm("ln_mlp", hidden, bias=True)
                else:
                    parts.norm("input_layernorm", hidden, bias=True)
                    if not parallel:
                        parts.norm("post_attention_layernorm", hidden, bias=True)
        parts.norm("ln_f", hidden, bias=True)
        parts.rotary("rotary_emb", heads.dim)  # transformers makes it with ALiBi too
    length = config.count("max_position_embeddings", default=2048)
    shape = gpt_shape(
        layers,
        hidden,
        inner,
        heads,
        vocabulary,
        length,
        score_values=4,
        score_bytes=0,
        cache_copies=queries // shared if new else 1,  # its class repeats heads before it caches them
    )
    return _finish(config, parts, shape, heads, "word_embeddings")


def _finish(config: Config, parts: Parts, shape: Shape, heads: Heads, table: str) -> Layout:
    tied = config.flag("tie_word_embeddings", True)
    parts.head(shape.hidden or 0, shape.vocabulary or 0, tied=tied)
    return Layout(
        tuple(parts.modules),
        shape,
        base="transformer",
        tied=((HEAD, f"transformer.{table}.weight"),) if tied else (),
        caches=heads.caches(shape.layers or 0),
    )
