"""Chains of stages on the sentence encoder, by the name shown: what makes it smaller, what deploys it."""

from __future__ import annotations

from typing import Any

from benchmarks.compression.made import Chain

TEACHING: dict[str, Any] = {
    "use": "distill.embeddings",
    "data": "docs",
    "batch_size": 32,
    "learning_rate": 5.0e-4,
    "freeze": ["embeddings.*"],
    "evaluate_every": 250,
}
# A learning rate too small to change a float32 weight: the layers as they were taken.
UNTAUGHT: dict[str, Any] = {**TEACHING, "pieces": 0, "steps": 1, "learning_rate": 1e-30}
NEURONS: Chain = {
    "prune": {"use": "prune.structured", "neurons": "67%", "importance": "activation", "data": "docs"}
}

SMALLER: dict[str, Chain] = {
    "6 layers, as it comes": {},
    "3 layers, untaught": {"distill": {**UNTAUGHT, "layers": "spread 3"}},
    "3 layers, 2,000 steps": {"distill": {**TEACHING, "layers": "spread 3", "steps": 2000}},
    "3 layers, 8,000 steps": {"distill": {**TEACHING, "layers": "spread 3", "pieces": 8, "steps": 8000}},
    "6 layers, a third of the neurons, untaught": NEURONS,
    "6 layers, a third of the neurons, 2,000 steps": {**NEURONS, "distill": {**TEACHING, "steps": 2000}},
}
FLOAT: Chain = {
    "export": {"use": "export.onnx", "opset": 23},
    "compile": {"use": "compile.onnxruntime", "variant": "auto", "data": "docs"},
}
INT8: Chain = {
    "export": FLOAT["export"],
    "quantize": {"use": "quantize.onnx_dynamic", "per_channel": True, "data": "docs"},
    "compile": FLOAT["compile"],
}
DEPLOYED: dict[str, Chain] = {
    **{name: {**chain, **FLOAT} for name, chain in SMALLER.items()},
    **{f"{name}, int8": {**chain, **INT8} for name, chain in SMALLER.items() if "untaught" not in name},
}
