"""What is compared: parameters of `quantize.onnx_weight_only`, by the name shown in the table."""

from __future__ import annotations

from typing import Any

FOUR: dict[str, Any] = {"bits": 4, "block_size": 32}
GPTQ: dict[str, Any] = {**FOUR, "method": "gptq", "data": "docs"}

VARIANTS: dict[str, dict[str, Any] | None] = {
    "float32": None,
    "RTN": {**FOUR, "method": "rtn"},
    "HQQ": {**FOUR, "method": "hqq"},
    "k-quant": {**FOUR, "method": "k_quant"},
    "GPTQ": {**GPTQ},
    "RTN, symmetric": {**FOUR, "method": "rtn", "symmetric": True},
    "GPTQ, symmetric": {**GPTQ, "symmetric": True},
    "as lm-int4-onnx (head and embeddings in 8 bits)": {
        **GPTQ,
        "embeddings": True,
        "layer_bits": {"*lm_head*": 8},
    },
    "k-quant, uniform, blocks of 16": {**FOUR, "method": "k_quant", "block_size": 16},
    "k-quant, mixed, budget 5.1": {**FOUR, "method": "k_quant", "data": "docs", "budget": 5.1},
    "GPTQ, uniform, blocks of 16": {**GPTQ, "block_size": 16},
    "GPTQ, mixed, budget 5.1": {**GPTQ, "budget": 5.1},
    "8 bits, RTN": {**FOUR, "method": "rtn", "bits": 8},
}

# Mixtures beside what is uniform at the same stored bits; the two are compared window by window.
PAIRS = [
    ("k-quant, mixed, budget 5.1", "k-quant, uniform, blocks of 16"),
    ("GPTQ, mixed, budget 5.1", "GPTQ, uniform, blocks of 16"),
]
