"""The tensors of each family of transformers that can be cut, and what their dimensions count."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from modelwright.errors import RecipeError
from modelwright_plugins.anatomy.encoder import BERT, DISTILBERT, MPNET, ROBERTA, Names
from modelwright_plugins.prune.slicing.axes import (
    FIXED,
    KEYS,
    NEURONS,
    QUERIES,
    WIDTH,
    Dimensions,
    Segment,
)


class Family(NamedTuple):
    """How a family names its modules.

    `block` are those of a layer, `beside` those below `base` elsewhere, `top` those above it (output heads).
    `classes` begins the names of its classes. `own_head_dim` says that the configuration may give a head
    size that is not the width divided by the heads, `divides` that these have to divide it even then.
    `inner` is the key of the MLP's size. `transposed` marks matrices of layers that are stored [inputs,
    outputs], `same_heads` layers that share a parameter of their heads. `norm_offset` is what a norm adds to
    its weight; `scaled_embedding` marks embeddings that are multiplied by the root of the width.
    """

    classes: str
    base: str
    layers: str
    block: Mapping[str, Dimensions]
    beside: Mapping[str, Dimensions]
    top: Mapping[str, Dimensions]
    own_head_dim: bool = True
    divides: bool = False
    inner: str = "intermediate_size"
    transposed: bool = False
    same_heads: bool = False
    norm_offset: float = 0.0
    scaled_embedding: bool = False

    @property
    def attention_output(self) -> str:
        """The module of a layer that reads what its heads give."""
        return next(name for name, found in self.block.items() if found == (WIDTH, QUERIES))

    @property
    def mlp_output(self) -> str:
        """The module of a layer that reads its neurons."""
        return next(name for name, found in self.block.items() if found == (WIDTH, NEURONS))

    def dimensions(self, name: str, rank: int) -> Dimensions | None:
        """Those of a parameter by its name in the model; None for one that the family does not have."""
        module, _, last = name.rpartition(".")
        inside = self.place(module)
        if inside is not None:
            found = self.block.get(inside[1])
        else:
            found = self.beside.get(module.removeprefix(f"{self.base}.")) or self.top.get(module)
        if found is None or last not in ("weight", "bias"):
            return None
        found = found if last == "weight" else found[:1]
        found = found[::-1] if inside and self.transposed else found
        return found if len(found) == rank else None

    def place(self, name: str) -> tuple[int, str] | None:
        """The number of the layer that a module lies in, and its name there; None where it is in none."""
        found = re.match(rf"(?:{re.escape(self.base)}\.)?{re.escape(self.layers)}\.(\d+)(?:\.|$)(.*)", name)
        return (int(found[1]), found[2]) if found else None

    def layer_of(self, name: str) -> int | None:
        """The number of the layer that a module or parameter lies in."""
        found = self.place(name)
        return found[0] if found else None


MATRIX: Dimensions = (WIDTH, WIDTH)
NORM: Dimensions = (WIDTH,)
TABLE: Dimensions = (FIXED, WIDTH)


def _decoder(classes: str, *, fused: bool = False) -> Family:
    """Llama's skeleton; with `fused`, one matrix for queries, keys and values, and one for gate and up."""
    attention: dict[str, Dimensions] = {
        "self_attn.q_proj": (QUERIES, WIDTH),
        "self_attn.k_proj": (KEYS, WIDTH),
        "self_attn.v_proj": (KEYS, WIDTH),
        # Of one head each, the same for all.
        "self_attn.q_norm": (FIXED,),
        "self_attn.k_norm": (FIXED,),
    }
    mlp: dict[str, Dimensions] = {"mlp.gate_proj": (NEURONS, WIDTH), "mlp.up_proj": (NEURONS, WIDTH)}
    if fused:
        attention = {"self_attn.qkv_proj": ((*QUERIES, *KEYS, *KEYS), WIDTH)}
        mlp = {"mlp.gate_up_proj": ((*NEURONS, *NEURONS), WIDTH)}
    block: dict[str, Dimensions] = {
        **attention,
        "self_attn.o_proj": (WIDTH, QUERIES),
        **mlp,
        "mlp.down_proj": (WIDTH, NEURONS),
        "input_layernorm": NORM,
        "post_attention_layernorm": NORM,
    }
    beside: dict[str, Dimensions] = {"embed_tokens": TABLE, "norm": NORM}
    return Family(classes, "model", "layers", block, beside, {"lm_head": TABLE, "score": TABLE})


def _encoder(classes: str, names: Names, inner: str = "intermediate_size") -> Family:
    query, key, value, output = names.attention
    block: dict[str, Dimensions] = {
        query: (QUERIES, WIDTH),
        key: (KEYS, WIDTH),
        value: (KEYS, WIDTH),
        output: (WIDTH, QUERIES),
        names.attention_norm: NORM,
        names.inner: (NEURONS, WIDTH),
        names.outer: (WIDTH, NEURONS),
        names.outer_norm: NORM,
    }
    embeddings = ("word_embeddings", "position_embeddings", "token_type_embeddings")
    beside: dict[str, Dimensions] = {f"embeddings.{name}": TABLE for name in embeddings}
    beside |= {"embeddings.LayerNorm": NORM, "pooler.dense": MATRIX}
    beside["encoder.relative_attention_bias"] = (FIXED, (Segment("queries"),))
    top: dict[str, Dimensions] = {
        "classifier": TABLE,
        "pre_classifier": MATRIX,
        "classifier.dense": MATRIX,
        "classifier.out_proj": TABLE,
    }
    return Family(
        classes,
        names.base,
        names.layers,
        block,
        beside,
        top,
        own_head_dim=False,
        inner=inner,
        same_heads=names is MPNET,
    )


def _gpt2() -> Family:
    block: dict[str, Dimensions] = {
        "ln_1": NORM,
        "attn.c_attn": ((*QUERIES, *KEYS, *KEYS), WIDTH),
        "attn.c_proj": (WIDTH, QUERIES),
        "ln_2": NORM,
        "mlp.c_fc": (NEURONS, WIDTH),
        "mlp.c_proj": (WIDTH, NEURONS),
    }
    beside: dict[str, Dimensions] = {"wte": TABLE, "wpe": TABLE, "ln_f": NORM}
    top: dict[str, Dimensions] = {"lm_head": TABLE, "score": TABLE}
    return Family(
        "GPT2",
        "transformer",
        "h",
        block,
        beside,
        top,
        own_head_dim=False,
        inner="n_inner",
        transposed=True,
    )


def _gpt_neox() -> Family:
    block: dict[str, Dimensions] = {
        "input_layernorm": NORM,
        "post_attention_layernorm": NORM,
        # Query, key and value of a head lie together.
        "attention.query_key_value": ((Segment("queries", 3, heads=True),), WIDTH),
        "attention.dense": (WIDTH, QUERIES),
        "mlp.dense_h_to_4h": (NEURONS, WIDTH),
        "mlp.dense_4h_to_h": (WIDTH, NEURONS),
    }
    beside: dict[str, Dimensions] = {"embed_in": TABLE, "final_layer_norm": NORM}
    top: dict[str, Dimensions] = {"lm_head": TABLE, "score": TABLE}
    return Family("GPTNeoX", "gpt_neox", "layers", block, beside, top, own_head_dim=False)


FAMILIES: dict[str, Family] = {
    "bert": _encoder("Bert", BERT),
    "distilbert": _encoder("DistilBert", DISTILBERT, "hidden_dim"),
    "gemma": _decoder("Gemma")._replace(norm_offset=1.0, scaled_embedding=True),
    "gpt2": _gpt2(),
    "gpt_neox": _gpt_neox(),
    "llama": _decoder("Llama")._replace(divides=True),
    "mistral": _decoder("Mistral"),
    "mpnet": _encoder("MPNet", MPNET),
    "phi3": _decoder("Phi3", fused=True),
    "qwen2": _decoder("Qwen2"),
    "qwen3": _decoder("Qwen3"),
    "roberta": _encoder("Roberta", ROBERTA),
    "xlm-roberta": _encoder("XLMRoberta", ROBERTA),
}


def family_of(architecture: str, where: str) -> Family:
    """The family of a class of transformers, or of a `model_type`. Raises RecipeError where it is not known.

    >>> family_of("LlamaForCausalLM", where) is FAMILIES["llama"]
    True
    """
    for name, family in FAMILIES.items():
        if architecture == name or re.fullmatch(rf"{family.classes}(Model|LMHead|For).*", architecture):
            return family
    raise RecipeError(
        f"How to cut '{architecture}' is not known: which of its matrices depend on each other.",
        where=where,
        accepted=", ".join(FAMILIES),
        hint="prune.magnitude, prune.wanda and prune.sparsegpt take other families, and zero single weights",
    )
