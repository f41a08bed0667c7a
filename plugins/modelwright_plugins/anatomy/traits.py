"""How the families on Llama's skeleton differ from it: Mistral, Qwen, Gemma, SmolLM, Phi-3, OLMo, …"""

from __future__ import annotations

from typing import NamedTuple

NORMS = ("input_layernorm", "post_attention_layernorm")
GEMMA_NORMS = (*NORMS, "pre_feedforward_layernorm", "post_feedforward_layernorm")

# A flag of the config and its default, or a fixed answer.
Bias = bool | tuple[str, bool]


class Traits(NamedTuple):
    """How a family differs from Llama.

    `without` is what `read_heads` takes. `window` says which layers slide: `never`, `always`, a `flag` that
    turns it on (Qwen), or all but each second or sixth (Gemma); `window_default` is the family's own.
    `qk_norm` is none, one per `head` or over the `full` width. `norm` is `rms`, `layer` (with a shift) or
    `plain` (no parameters). `rotated` is the share of a head's values that rotate.
    """

    without: str = "all"
    tie: bool = False
    head_dim: int | None = None
    qkv_bias: Bias = False
    out_bias: Bias = False
    mlp_bias: Bias = False
    gated: bool = True
    fused: bool = False
    norm: str = "rms"
    norms: tuple[str, ...] = NORMS
    qk_norm: str = ""
    window: str = "never"
    window_default: int | None = None
    rotated: float = 1.0
    rotary_kinds: tuple[str, ...] = ("",)
    scaled_embedding: bool = False
    fused_attention: bool = True


ATTENTION_BIAS = ("attention_bias", False)
LLAMA = Traits(qkv_bias=ATTENTION_BIAS, out_bias=ATTENTION_BIAS, mlp_bias=("mlp_bias", False))
QWEN2 = Traits(without="32", qkv_bias=True, window="flag", window_default=4096)
QWEN3 = Traits(
    without="32",
    head_dim=128,
    qkv_bias=ATTENTION_BIAS,
    out_bias=ATTENTION_BIAS,
    qk_norm="head",
    window="flag",
    window_default=4096,
)
GEMMA = Traits(
    without="16",
    tie=True,
    head_dim=256,
    qkv_bias=ATTENTION_BIAS,
    out_bias=ATTENTION_BIAS,
    scaled_embedding=True,
)
GEMMA2 = GEMMA._replace(without="4", norms=GEMMA_NORMS, window="second", window_default=4096)
# Gemma 2 squashes its attention scores, which PyTorch's fused attention cannot.
TRAITS: dict[str, Traits] = {
    "llama": LLAMA,
    "mistral": Traits(without="8", window="always", window_default=4096),
    "qwen2": QWEN2,
    "qwen3": QWEN3,
    "gemma": GEMMA,
    "gemma2": GEMMA2._replace(fused_attention=False),
    "gemma3_text": GEMMA2._replace(
        qk_norm="head", window="sixth", rotary_kinds=("sliding_attention_", "full_attention_")
    ),
    "smollm3": LLAMA._replace(without="4", tie=True, window="flag"),
    "granite": LLAMA,
    "phi3": Traits(fused=True, window="always"),
    "olmo": Traits(norm="plain", qkv_bias=ATTENTION_BIAS, out_bias=ATTENTION_BIAS),
    "olmo2": Traits(
        qkv_bias=ATTENTION_BIAS,
        out_bias=ATTENTION_BIAS,
        qk_norm="full",
        norms=("post_attention_layernorm", "post_feedforward_layernorm"),
    ),
    "stablelm": Traits(without="32", norm="layer", qkv_bias=("use_qkv_bias", False), rotated=0.25),
    "starcoder2": Traits(
        without="2",
        tie=True,
        gated=False,
        norm="layer",
        qkv_bias=("use_bias", True),
        out_bias=("use_bias", True),
        mlp_bias=("use_bias", True),
        window="always",
    ),
}
