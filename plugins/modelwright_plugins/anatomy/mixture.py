"""Mixtures of experts on Llama's skeleton: Mixtral and Qwen; every expert counts, chosen or not."""

from __future__ import annotations

from modelwright.api.anatomy import Tensor
from modelwright_plugins.anatomy.config import Config
from modelwright_plugins.anatomy.layout import Layout
from modelwright_plugins.anatomy.llama import Piece, decoder
from modelwright_plugins.anatomy.mlp import gated_inner_copies, widest
from modelwright_plugins.anatomy.parts import Parts
from modelwright_plugins.anatomy.traits import ATTENTION_BIAS, QWEN3, Traits

MIXTRAL = Traits(without="8", window="always")
QWEN2_MOE = Traits(without="16", qkv_bias=("qkv_bias", True), window="flag", window_default=4096)
QWEN3_MOE = QWEN3._replace(without="4", head_dim=None, qkv_bias=ATTENTION_BIAS, out_bias=ATTENTION_BIAS)


def router(parts: Parts, count: int, hidden: int, *more: Tensor) -> None:
    """The matrix that chooses experts, and what a family keeps beside it."""
    parts.add("mlp.gate", Tensor("weight", (count, hidden), "linear", hidden), *more)


def mixtral(config: Config) -> Layout:
    """Every layer a mixture."""
    hidden, inner = config.count("hidden_size"), config.count("intermediate_size")
    count = config.count("num_local_experts", "num_experts")
    chosen = config.count("num_experts_per_tok", default=2)

    def mlp(parts: Parts, index: int) -> None:
        router(parts, count, hidden)
        parts.experts("mlp.experts", count, hidden, inner)

    return decoder(config, MIXTRAL, mlp=mlp, inner_held=(chosen * inner, gated_inner_copies(True)))


def qwen2_moe(config: Config) -> Layout:
    """A shared expert beside the chosen ones."""
    hidden, shared = config.count("hidden_size"), config.count("shared_expert_intermediate_size")
    count, inner = config.count("num_experts"), config.count("moe_intermediate_size")
    chosen = config.count("num_experts_per_tok", default=4)

    def experts(parts: Parts, index: int) -> None:
        router(parts, count, hidden)
        parts.experts("mlp.experts", count, hidden, inner)
        parts.gated_mlp("mlp.shared_expert", hidden, shared)
        parts.linear("mlp.shared_expert_gate", hidden, 1)

    held = _inner_held(config, chosen * inner + shared)
    return decoder(config, QWEN2_MOE, mlp=_sparse(config, experts, hidden), inner_held=held)


def qwen3_moe(config: Config) -> Layout:
    """Chosen experts alone."""
    hidden = config.count("hidden_size")
    count, inner = config.count("num_experts"), config.count("moe_intermediate_size")
    chosen = config.count("num_experts_per_tok", default=8)

    def experts(parts: Parts, index: int) -> None:
        parts.experts("mlp.experts", count, hidden, inner)
        router(parts, count, hidden)

    held = _inner_held(config, chosen * inner)
    return decoder(config, QWEN3_MOE, mlp=_sparse(config, experts, hidden), inner_held=held)


def _dense(config: Config) -> tuple[frozenset[int], int]:
    """The layers that are named as dense, and how often a layer is a mixture."""
    return frozenset(config.numbers("mlp_only_layers")), config.count("decoder_sparse_step", default=1)


def _sparse(config: Config, experts: Piece, hidden: int) -> Piece:
    dense, step = _dense(config)

    def mlp(parts: Parts, index: int) -> None:
        if index in dense or (index + 1) % step:
            parts.gated_mlp("mlp", hidden, config.count("intermediate_size"))
        else:
            experts(parts, index)

    return mlp


def _inner_held(config: Config, chosen: int) -> tuple[int, int]:
    mixture = (chosen, gated_inner_copies(True))
    dense, step = _dense(config)
    if not dense and step == 1:
        return mixture
    return widest(mixture, (config.count("intermediate_size"), gated_inner_copies(False)))
