"""Chains of stages on the reference language model, by table and by the name shown in it."""

from __future__ import annotations

from typing import Any

from benchmarks.compression.made import Chain

# More text than the calibration split has; no table is judged on it.
CALIBRATED: dict[str, Any] = {"data": "docs", "split": "train", "samples": 128, "length": 512}


def _pruned(stage: str, **fields: Any) -> Chain:
    given = fields if stage == "magnitude" else {**CALIBRATED, **fields}
    return {"prune": {"use": f"prune.{stage}", **given}}


def _gptq(bits: int, **fields: Any) -> Chain:
    given = {"bits": bits, "group_size": 32, "symmetric": False, **fields}
    data = {} if fields.get("method") == "rtn" else CALIBRATED
    return {"quantize": {"use": "quantize.gptq", **data, **given}}


WHOLE: dict[str, Chain] = {"float32, as it comes": {}}

SPARSE: dict[str, Chain] = {
    **WHOLE,
    "50 %, magnitude": _pruned("magnitude", sparsity=0.5),
    "50 %, magnitude, one threshold": _pruned("magnitude", sparsity=0.5, scope="global"),
    "50 %, Wanda": _pruned("wanda", sparsity=0.5),
    "50 %, SparseGPT": _pruned("sparsegpt", sparsity=0.5),
    "2:4, magnitude": _pruned("magnitude", pattern="2:4"),
    "2:4, Wanda": _pruned("wanda", pattern="2:4"),
    "2:4, SparseGPT": _pruned("sparsegpt", pattern="2:4"),
}

# The same teacher, texts, steps and learning rate for all, so that only the order of the two differs.
LEARNING: dict[str, Any] = {
    "data": "docs",
    "alpha": 1,
    "length": 256,
    "steps": 400,
    "batch_size": 8,
    "learning_rate": 1.0e-3,
    "evaluate_every": 100,
}


def _healed(stage: str, **fields: Any) -> Chain:
    return {**_pruned(stage, **fields), "distill": {"use": "distill.logits", **LEARNING}}


def _gradual(**fields: Any) -> Chain:
    return {"prune": {"use": "prune.gradual", **LEARNING, "end": 200, "every": 10, **fields}}


HEALED: dict[str, Chain] = {
    **WHOLE,
    "50 %, magnitude": _pruned("magnitude", sparsity=0.5),
    "50 %, magnitude, then trained": _healed("magnitude", sparsity=0.5),
    "50 %, SparseGPT": _pruned("sparsegpt", sparsity=0.5),
    "50 %, SparseGPT, then trained": _healed("sparsegpt", sparsity=0.5),
    "50 %, magnitude, gradual": _gradual(sparsity=0.5),
    "2:4, magnitude": _pruned("magnitude", pattern="2:4"),
    "2:4, SparseGPT": _pruned("sparsegpt", pattern="2:4"),
    "2:4, SparseGPT, then trained": _healed("sparsegpt", pattern="2:4"),
    "2:4, magnitude, gradual": _gradual(pattern="2:4"),
}

BITS: dict[str, Chain] = {
    **WHOLE,
    **{
        f"{bits} bits, {name}": _gptq(bits, **fields)
        for bits in (2, 3, 4, 8)
        for name, fields in (
            ("round to nearest", {"method": "rtn"}),
            ("GPTQ", {}),
            ("GPTQ, act-order", {"act_order": True}),
        )
    },
    "4 bits, NF4 (bitsandbytes, blocks of 64)": {"quantize": {"use": "quantize.bitsandbytes", "kind": "nf4"}},
    "8 bits, LLM.int8 (bitsandbytes)": {"quantize": {"use": "quantize.bitsandbytes", "kind": "int8"}},
}

CUT: Chain = {
    "prune": {
        "use": "prune.structured",
        "parameters": 0.3,
        "cut": ["neurons", "heads", "layers"],
        "gqa": "queries",
        "importance": "taylor",
        **CALIBRATED,
    }
}
STRUCTURED: dict[str, Chain] = {
    **WHOLE,
    "30 % fewer parameters": CUT,
    "30 % fewer parameters, then trained": {
        **CUT,
        "distill": {"use": "distill.logits", **LEARNING, "steps": 2000, "learning_rate": 3.0e-3},
    },
}
