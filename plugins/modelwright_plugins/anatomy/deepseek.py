"""DeepSeek-V2 and -V3: multi-head latent attention and many small experts.

Source: DeepSeek-V2 (arXiv 2405.04434), section 2.1: the cache keeps one compressed vector and one rotary
key per token and layer, whatever the number of heads.
"""

from __future__ import annotations

from modelwright.api.anatomy import LayerCache, Tensor
from modelwright_plugins.anatomy.config import Config
from modelwright_plugins.anatomy.heads import Heads
from modelwright_plugins.anatomy.layout import Layout
from modelwright_plugins.anatomy.llama import decoder
from modelwright_plugins.anatomy.mixture import router
from modelwright_plugins.anatomy.mlp import gated_inner_copies, widest
from modelwright_plugins.anatomy.parts import Parts
from modelwright_plugins.anatomy.traits import Traits


def deepseek_v2(config: Config) -> Layout:
    """Dense layers first, then mixtures with shared experts."""
    return _deepseek(config, dense=config.count("first_k_dense_replace", default=0, least=0), corrected=False)


def deepseek_v3(config: Config) -> Layout:
    """The same with a correction of each expert's score."""
    return _deepseek(config, dense=config.count("first_k_dense_replace", default=3, least=0), corrected=True)


def _deepseek(config: Config, *, dense: int, corrected: bool) -> Layout:
    hidden, layers = config.count("hidden_size"), config.layers("num_hidden_layers")
    heads = config.count("num_attention_heads")
    latent = config.count("kv_lora_rank")
    rope, nope = config.count("qk_rope_head_dim"), config.count("qk_nope_head_dim")
    value = config.count("v_head_dim")
    compressed = config.count("q_lora_rank") if config.has("q_lora_rank") else None
    bias = config.flag("attention_bias", False)
    count, inner = config.count("n_routed_experts"), config.count("moe_intermediate_size")
    shared = inner * config.count("n_shared_experts", default=1 if corrected else 2)
    chosen = config.count("num_experts_per_tok", default=8)

    def attention(parts: Parts, index: int) -> None:
        with parts.inside("self_attn"):
            if compressed is None:
                parts.linear("q_proj", hidden, heads * (nope + rope))
            else:
                parts.linear("q_a_proj", hidden, compressed, bias=bias)
                parts.norm("q_a_layernorm", compressed)
                parts.linear("q_b_proj", compressed, heads * (nope + rope))
            parts.linear("kv_a_proj_with_mqa", hidden, latent + rope, bias=bias)
            parts.norm("kv_a_layernorm", latent)
            parts.linear("kv_b_proj", latent, heads * (nope + value))
            parts.linear("o_proj", heads * value, hidden, bias=bias)

    def mlp(parts: Parts, index: int) -> None:
        if index < dense:
            parts.gated_mlp("mlp", hidden, config.count("intermediate_size"))
            return
        parts.experts("mlp.experts", count, hidden, inner)
        correction = Tensor("e_score_correction_bias", (count,), "buffer")
        router(parts, count, hidden, *((correction,) if corrected else ()))
        parts.gated_mlp("mlp.shared_experts", hidden, shared)

    held = (chosen * inner + shared, gated_inner_copies(True))
    if dense:
        held = widest(held, (config.count("intermediate_size"), gated_inner_copies(False)))
    layout = decoder(
        config,
        Traits(),
        mlp=mlp,
        attention=attention,
        heads=Heads(heads, heads, rope),
        caches=(LayerCache(latent + rope),) * layers,
        inner_held=held,
    )
    shape = layout.shape.model_copy(update={"head_dim": nope + rope, "value_dim": value, "kv_heads": heads})
    return layout._replace(shape=shape)
