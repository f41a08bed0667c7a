"""Whether llama2.c computes the model that a configuration describes.

A file has no place for anything but sizes: the activation, the epsilon of the norms and the base of the
rotary positions are constants of the C programs. What a configuration leaves out has the value that
transformers' LlamaConfig gives it.
"""

from __future__ import annotations

import math
from typing import Any

from modelwright.errors import RecipeError
from modelwright_plugins.anatomy.config import Config
from modelwright_plugins.llama2c.layout import Header, Version
from modelwright_plugins.llama2c.rotary import BASE

ARCHITECTURE = "LlamaForCausalLM"
EPSILON = 1e-5
_DEFAULT_EPSILON = 1e-6
_ACTIVATIONS = ("silu", "swish")


def check_architecture(architecture: str, where: str) -> None:
    """Raise RecipeError for another architecture than Llama's."""
    if architecture != ARCHITECTURE:
        raise RecipeError(
            f"llama2.c runs Llama alone, and this model is {architecture}.",
            where=where,
            accepted=ARCHITECTURE,
        )


def read_header(config: Config, length: int, version: Version) -> Header:
    """The header for a model of a context of `length` tokens, its classifier and group size left to be found.

    Raises RecipeError, naming the key, for what llama2.c does not compute.
    """
    check_architecture(config.architecture(), config.where("architectures"))
    _check_layers(config)
    _check_rotary(config)
    heads = config.count("num_attention_heads")
    kv_heads = config.count("num_key_value_heads", default=heads)
    dim = config.count("hidden_size")
    _check_heads(config, dim, heads, kv_heads)
    return Header(
        version=version,
        dim=dim,
        hidden_dim=config.count("intermediate_size"),
        layers=config.count("num_hidden_layers"),
        heads=heads,
        kv_heads=kv_heads,
        vocabulary=config.count("vocab_size"),
        length=length,
        shared=True,
    )


def _check_layers(config: Config) -> None:
    if config.values.get("quantization_config"):
        raise _refused(config, "quantization_config", "has quantized weights", "a checkpoint of floats")
    for key in ("attention_bias", "mlp_bias"):
        if config.flag(key, default=False):
            raise _refused(config, key, "has biases", "false")
    activation = config.values.get("hidden_act", "silu")
    if activation not in _ACTIVATIONS:
        raise _refused(config, "hidden_act", f"has the activation {activation!r}", "silu")
    epsilon = _number(config, "rms_norm_eps", config.values.get("rms_norm_eps", _DEFAULT_EPSILON))
    if not math.isclose(epsilon, EPSILON, rel_tol=1e-6):
        raise _refused(
            config,
            "rms_norm_eps",
            f"adds {epsilon:g} in its norms, and run.c and runq.c always add {EPSILON:g}",
            f"{EPSILON:g}",
        )
    window = config.values.get("sliding_window")
    if window is not None and config.values.get("use_sliding_window", True):
        raise _refused(config, "sliding_window", f"looks back {window} tokens only", "none")


def _check_rotary(config: Config) -> None:
    # transformers 5 keeps theta in `rope_parameters`; older files have `rope_scaling` beside it.
    key = next((name for name in ("rope_parameters", "rope_scaling") if config.has(name)), "rope_theta")
    values: dict[str, Any] = {
        "rope_theta": config.values.get("rope_theta", BASE),
        "partial_rotary_factor": config.values.get("partial_rotary_factor", 1.0),
        **config.within("rope_scaling").values,
        **config.within("rope_parameters").values,
    }
    kind = values.get("rope_type") or values.get("type") or "default"
    if kind != "default":
        raise _refused(config, key, f"scales its rotary positions ({kind})", "no scaling (default)")
    theta = _number(config, key, values["rope_theta"])
    if theta != BASE:
        raise _refused(
            config,
            key if key == "rope_parameters" else "rope_theta",
            f"has rotary positions of base {theta:g}, and run.c and runq.c always take {BASE:g}",
            f"{BASE:g}",
        )
    if values["partial_rotary_factor"] != 1:
        raise _refused(config, "partial_rotary_factor", "rotates only a part of each head", "1")


def _check_heads(config: Config, dim: int, heads: int, kv_heads: int) -> None:
    width = config.count("head_dim", default=dim // heads)
    if width * heads != dim:
        raise _refused(
            config,
            "head_dim" if config.has("head_dim") else "num_attention_heads",
            f"has {heads} heads of {width}, and a hidden size of {dim}",
            "head_dim = hidden_size / num_attention_heads",
        )
    if width % 2:
        raise _refused(config, "head_dim", f"has heads of odd width ({width})", "an even head_dim")
    if heads % kv_heads:
        raise _refused(
            config,
            "num_key_value_heads",
            f"has {heads} heads of queries for {kv_heads} of keys",
            "a divisor of num_attention_heads",
        )


def _number(config: Config, key: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RecipeError(
            f"config.json gives {key} as {value!r}.", where=config.where(key), accepted="a number"
        )
    return float(value)


def _refused(config: Config, key: str, reason: str, accepted: str) -> RecipeError:
    return RecipeError(
        f"llama2.c cannot run this model: it {reason}.", where=config.where(key), accepted=accepted
    )
