"""GPT-2 and GPTBigCode: learned positions, one fused projection, biases everywhere, a tied head."""

from __future__ import annotations

from modelwright.api.anatomy import Module, Shape, Tensor
from modelwright_plugins.anatomy.config import Config
from modelwright_plugins.anatomy.heads import Heads, divide
from modelwright_plugins.anatomy.layout import HEAD, Layout
from modelwright_plugins.anatomy.mlp import plain_inner_copies
from modelwright_plugins.anatomy.parts import BOOL, Parts

POSITIONS = ("n_positions", "max_position_embeddings", "n_ctx")


def gpt2(config: Config) -> Layout:
    """GPT-2, and GPT-3's shapes written as its config; matrices are stored [inputs, outputs]."""
    return _gpt(config, shared=False, transposed=True)


def gpt_bigcode(config: Config) -> Layout:
    """StarCoder: one key-value head for all query heads unless `multi_query` is false."""
    return _gpt(config, shared=config.flag("multi_query", True), transposed=False)


def _gpt(config: Config, *, shared: bool, transposed: bool) -> Layout:
    hidden, layers = config.count("n_embd", "hidden_size"), config.layers("n_layer", "num_hidden_layers")
    queries, vocabulary = config.count("n_head", "num_attention_heads"), config.count("vocab_size")
    heads = Heads(queries, 1 if shared else queries, divide(config, "n_head", hidden, queries))
    positions = config.count(*POSITIONS)
    inner = config.count("n_inner", default=4 * hidden)
    tied = config.flag("tie_word_embeddings", True)
    parts = Parts()
    with parts.inside("transformer"):
        parts.embedding("wte", vocabulary, hidden)
        parts.embedding("wpe", positions, hidden)
        parts.add("drop")
        for index in range(layers):
            with parts.layer(f"h.{index}"):
                parts.norm("ln_1", hidden, bias=True)
                fused = heads.query_width + 2 * heads.kv_width
                parts.linear("attn.c_attn", hidden, fused, bias=True, transposed=transposed)
                parts.linear("attn.c_proj", heads.query_width, hidden, bias=True, transposed=transposed)
                parts.norm("ln_2", hidden, bias=True)
                parts.linear("mlp.c_fc", hidden, inner, bias=True, transposed=transposed)
                parts.linear("mlp.c_proj", inner, hidden, bias=True, transposed=transposed)
        parts.norm("ln_f", hidden, bias=True)
    if not transposed:  # GPTBigCode keeps its causal mask beside the weights
        parts.modules.insert(0, _causal_mask(positions))
    parts.head(hidden, vocabulary, tied=tied)
    copies = plain_inner_copies(config, "activation_function", "gelu_new" if transposed else "")
    shape = gpt_shape(
        layers,
        hidden,
        inner,
        heads,
        vocabulary,
        positions,
        inner_copies=copies,
        score_values=2 if transposed else 0,  # GPT-2 has its softmax in the model's dtype
        score_bytes=0 if transposed else 8,
    )
    return Layout(
        tuple(parts.modules),
        shape,
        base="transformer",
        tied=((HEAD, "transformer.wte.weight"),) if tied else (),
        caches=heads.caches(layers),
    )


def gpt_shape(
    layers: int,
    hidden: int,
    inner: int,
    heads: Heads,
    vocabulary: int,
    positions: int | None,
    *,
    inner_copies: int = 2,
    fused_attention: bool = True,
    score_values: int = 0,
    score_bytes: int = 8,
    cache_copies: int = 1,
) -> Shape:
    """The shape of a decoder with plain (not gated) MLPs."""
    return Shape(
        layers=layers,
        hidden=hidden,
        intermediate=inner,
        heads=heads.queries,
        kv_heads=heads.key_values,
        head_dim=heads.dim,
        value_dim=heads.dim,
        vocabulary=vocabulary,
        context_length=positions,
        inner_copies=inner_copies,
        fused_attention=fused_attention,
        score_values=score_values,
        score_bytes=score_bytes,
        cache_copies=cache_copies,
        generates=True,
    )


def _causal_mask(positions: int) -> Module:
    return Module("transformer", (Tensor("bias", (positions, positions), "buffer", item_bytes=BOOL),))
