"""The families of models whose config.json is understood, by its `model_type`."""

from __future__ import annotations

from functools import partial

from modelwright_plugins.anatomy.alibi import bloom, falcon, mpt
from modelwright_plugins.anatomy.deepseek import deepseek_v2, deepseek_v3
from modelwright_plugins.anatomy.encoder import bert, distilbert, mpnet, roberta
from modelwright_plugins.anatomy.gpt import gpt2, gpt_bigcode
from modelwright_plugins.anatomy.layout import Reader
from modelwright_plugins.anatomy.llama import decoder
from modelwright_plugins.anatomy.mixture import mixtral, qwen2_moe, qwen3_moe
from modelwright_plugins.anatomy.neox import gpt_neox, opt, phi
from modelwright_plugins.anatomy.traits import TRAITS

FAMILIES: dict[str, Reader] = {
    **{name: partial(decoder, traits=traits) for name, traits in TRAITS.items()},
    "bert": bert,
    "bloom": bloom,
    "deepseek_v2": deepseek_v2,
    "deepseek_v3": deepseek_v3,
    "distilbert": distilbert,
    "falcon": falcon,
    "gpt2": gpt2,
    "gpt_bigcode": gpt_bigcode,
    "gpt_neox": gpt_neox,
    "mixtral": mixtral,
    "mpnet": mpnet,
    "mpt": mpt,
    "opt": opt,
    "phi": phi,
    "qwen2_moe": qwen2_moe,
    "qwen3_moe": qwen3_moe,
    "roberta": roberta,
    "xlm-roberta": roberta,
}
