"""Chains of stages on the reference language model, by table and by the name shown in it."""

from __future__ import annotations

from typing import Any

Chain = dict[str, dict[str, Any]]

# More text than the calibration split has; no table is judged on it.
CALIBRATED: dict[str, Any] = {"data": "docs", "split": "train", "samples": 128, "length": 512}


def _pruned(stage: str, **fields: Any) -> Chain:
    given = fields if stage == "magnitude" else {**CALIBRATED, **fields}
    return {"prune": {"use": f"prune.{stage}", **given}}


def _gptq(bits: int, **fields: Any) -> Chain:
    given = {"bits": bits, "group_size": 32, "symmetric": False, **fields}
    data = {} if fields.get("method") == "rtn" else CALIBRATED
    return {"quantize": {"use": "quantize.gptq", **data, **given}}


SPARSE: dict[str, Chain] = {
    "dense": {},
    "50 %, magnitude": _pruned("magnitude", sparsity=0.5),
    "50 %, magnitude, one threshold": _pruned("magnitude", sparsity=0.5, scope="global"),
    "50 %, Wanda": _pruned("wanda", sparsity=0.5),
    "50 %, SparseGPT": _pruned("sparsegpt", sparsity=0.5),
    "2:4, magnitude": _pruned("magnitude", pattern="2:4"),
    "2:4, Wanda": _pruned("wanda", pattern="2:4"),
    "2:4, SparseGPT": _pruned("sparsegpt", pattern="2:4"),
}

BITS: dict[str, Chain] = {
    "float32": {},
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

TABLES = {"sparse": SPARSE, "bits": BITS}
