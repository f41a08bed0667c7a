"""GPT-NeoX (Pythia), OPT and Phi: layer norms with biases, in the layouts of their own classes."""

from __future__ import annotations

from modelwright_plugins.anatomy.config import Config
from modelwright_plugins.anatomy.gpt import gpt_shape
from modelwright_plugins.anatomy.heads import Heads, divide, partial_rotary, read_heads
from modelwright_plugins.anatomy.layout import HEAD, Layout
from modelwright_plugins.anatomy.mlp import plain_inner_copies
from modelwright_plugins.anatomy.parts import Parts


def gpt_neox(config: Config) -> Layout:
    """Pythia and GPT-NeoX-20B: rotary on a quarter of each head, head and embedding apart."""
    hidden, layers = config.count("hidden_size"), config.layers("num_hidden_layers")
    vocabulary, inner = config.count("vocab_size"), config.count("intermediate_size")
    queries = config.count("num_attention_heads")
    heads = Heads(queries, queries, divide(config, "num_attention_heads", hidden, queries))
    bias, tied = config.flag("attention_bias", True), config.flag("tie_word_embeddings", False)
    parts = Parts()
    with parts.inside("gpt_neox"):
        parts.embedding("embed_in", vocabulary, hidden)
        parts.add("emb_dropout")
        for index in range(layers):
            with parts.layer(f"layers.{index}"):
                parts.norm("input_layernorm", hidden, bias=True)
                parts.norm("post_attention_layernorm", hidden, bias=True)
                parts.linear("attention.query_key_value", hidden, 3 * hidden, bias=bias)
                parts.linear("attention.dense", hidden, hidden, bias=bias)
                parts.linear("mlp.dense_h_to_4h", hidden, inner, bias=True)
                parts.linear("mlp.dense_4h_to_h", inner, hidden, bias=True)
        parts.norm("final_layer_norm", hidden, bias=True)
        parts.rotary("rotary_emb", int(heads.dim * partial_rotary(config, 0.25, "rotary_pct")))
    parts.head(hidden, vocabulary, tied=tied)
    length = config.count("max_position_embeddings", default=2048)
    return Layout(
        tuple(parts.modules),
        gpt_shape(layers, hidden, inner, heads, vocabulary, length),
        base="gpt_neox",
        tied=((HEAD, "gpt_neox.embed_in.weight"),) if tied else (),
        caches=heads.caches(layers),
    )


def opt(config: Config) -> Layout:
    """OPT: learned positions offset by two; OPT-350M embeds in a narrower width and projects."""
    hidden, layers = config.count("hidden_size"), config.layers("num_hidden_layers")
    vocabulary, inner = config.count("vocab_size"), config.count("ffn_dim")
    queries = config.count("num_attention_heads")
    heads = Heads(queries, queries, divide(config, "num_attention_heads", hidden, queries))
    width = config.count("word_embed_proj_dim", default=hidden)
    length = config.count("max_position_embeddings", default=2048)
    bias, tied = config.flag("enable_bias", True), config.flag("tie_word_embeddings", True)
    affine = config.flag("layer_norm_elementwise_affine", True)
    parts = Parts()

    def norm(path: str) -> None:
        if affine:
            parts.norm(path, hidden, bias=True)
        else:
            parts.add(path)

    with parts.inside("model.decoder"):
        parts.embedding("embed_tokens", vocabulary, width)
        parts.embedding("embed_positions", length + 2, hidden)
        if width != hidden:
            parts.linear("project_out", hidden, width)
            parts.linear("project_in", width, hidden)
        if config.flag("do_layer_norm_before", True) and not config.flag("_remove_final_layer_norm", False):
            norm("final_layer_norm")
        for index in range(layers):
            with parts.layer(f"layers.{index}"):
                for name in ("k_proj", "v_proj", "q_proj", "out_proj"):
                    parts.linear(f"self_attn.{name}", hidden, hidden, bias=bias)
                norm("self_attn_layer_norm")
                parts.linear("fc1", hidden, inner, bias=bias)
                parts.linear("fc2", inner, hidden, bias=bias)
                norm("final_layer_norm")
    parts.head(width, vocabulary, tied=tied)
    return Layout(
        tuple(parts.modules),
        gpt_shape(layers, hidden, inner, heads, vocabulary, length),
        base="model",
        tied=((HEAD, "model.decoder.embed_tokens.weight"),) if tied else (),
        caches=heads.caches(layers),
        head_inputs=width,
    )


def phi(config: Config) -> Layout:
    """Phi-1 and Phi-2: attention and MLP side by side under one norm, biases everywhere, the head's too."""
    hidden, layers = config.count("hidden_size"), config.layers("num_hidden_layers")
    vocabulary, inner = config.count("vocab_size"), config.count("intermediate_size")
    heads = read_heads(config, hidden)
    tied = config.flag("tie_word_embeddings", False)
    parts = Parts()
    with parts.inside("model"):
        parts.embedding("embed_tokens", vocabulary, hidden)
        for index in range(layers):
            with parts.layer(f"layers.{index}"):
                with parts.inside("self_attn"):
                    parts.linear("q_proj", hidden, heads.query_width, bias=True)
                    parts.linear("k_proj", hidden, heads.kv_width, bias=True)
                    parts.linear("v_proj", hidden, heads.kv_width, bias=True)
                    parts.linear("dense", heads.query_width, hidden, bias=True)
                    if config.flag("qk_layernorm", False):
                        parts.norm("q_layernorm", heads.dim, bias=True)
                        parts.norm("k_layernorm", heads.dim, bias=True)
                parts.linear("mlp.fc1", hidden, inner, bias=True)
                parts.linear("mlp.fc2", inner, hidden, bias=True)
                parts.norm("input_layernorm", hidden, bias=True)
        parts.rotary("rotary_emb", int(heads.dim * partial_rotary(config, 0.5)))
        parts.add("embed_dropout")
        parts.norm("final_layernorm", hidden, bias=True)
    parts.head(hidden, vocabulary, bias=True, tied=tied)
    length = config.count("max_position_embeddings", default=2048)
    return Layout(
        tuple(parts.modules),
        gpt_shape(
            layers,
            hidden,
            inner,
            heads,
            vocabulary,
            length,
            inner_copies=plain_inner_copies(config, "hidden_act", "gelu_new"),
        ),
        base="model",
        tied=((HEAD, "model.embed_tokens.weight"),) if tied else (),
        caches=heads.caches(layers),
    )
