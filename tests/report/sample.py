"""Reports as a run would leave them: released, rejected, failed, and one with nothing in it."""

from __future__ import annotations

from typing import Any

from sample_values import cost, exactly, interval, latency, parity, quality, recovery, throughput

from modelwright.api.metric import Interval, Value
from modelwright.api.model import ModelSpec
from modelwright.report.model import (
    DataSummary,
    Environment,
    GateResult,
    ModelSummary,
    Report,
    StepResult,
    TimeSpent,
)

MIB = 2**20


def spec(kind: str, **fields: Any) -> ModelSpec:
    return ModelSpec(
        format=kind,
        task="embed",
        architecture="BertModel",
        max_length=256,
        pooling="mean",
        normalize=True,
        **fields,
    )


BASELINE = ModelSummary(
    title="all-MiniLM-L6-v2",
    spec=spec("torch"),
    digest="5c1f" * 16,
    bytes=91_600_000,
    runtime={
        "runtime": "PyTorch 2.13.0, transformers 5.23.0",
        "dtype": "float32",
        "attention": "sdpa",
        "threads": "2",
    },
)
CANDIDATE = ModelSummary(
    title="minilm-int8",
    spec=spec("onnx", tags=("int8",)),
    digest="a9e0" * 16,
    bytes=23_400_000,
    runtime={"runtime": "ONNX Runtime 1.31.0", "provider": "CPUExecutionProvider", "threads": "2"},
)
GATES = [
    GateResult(
        name="quality",
        metric="retrieval.mrr",
        asked="retrieval.mrr drops at most 3%",
        measured=0.022,
        unit="%",
        passed=True,
        reason="MRR drops 0.7 %, at worst 2.2 %.",
    ),
    GateResult(
        name="speed",
        metric="latency.p50",
        at={"batch": 1, "length": 128},
        asked="latency.p50 at batch 1, length 128 at least 2x faster",
        measured=0.0221,
        unit="x",
        passed=True,
        reason="2.43× faster, at worst 2.21×.",
    ),
    GateResult(
        name="size",
        metric="size.disk",
        asked="size.disk at most 30 MB",
        measured=23_400_000,
        unit="bytes",
        passed=True,
        reason="The model is 23.4 MB.",
    ),
    GateResult(
        name="fused",
        metric="fusion.attention",
        asked="fusion.attention at least 6",
        measured=6,
        passed=True,
        reason="6 Attention operators are in the graph.",
    ),
]
VALUES = [
    quality("retrieval.mrr", 0.494, 0.4905, -0.022, 0.008),
    quality("retrieval.recall", 0.742, 0.7401, -0.011, 0.006),
    latency(1, 16, 8.8, 3.1),
    latency(1, 128, 31.2, 12.9),
    latency(16, 128, 431, 169, noisy=True),
    throughput(1, 32.1, 77.6),
    throughput(16, 37.2, 94.6),
    cost(
        "memory.peak",
        "bytes",
        interval(642 * MIB, 0.01),
        interval(148 * MIB, 0.02),
        protocol={"counts": "resident set"},
    ),
    exactly("size.disk", "bytes", 91_600_000, 23_400_000),
    Value(name="fusion.attention", better="higher", candidate=Interval.exactly(6)),
]


def step(name: str, stage: str, seconds: float, **fields: Any) -> StepResult:
    given: dict[str, Any] = {
        "distribution": "modelwright 0.1.0",
        "parameters": {},
        "fidelity": "exact",
        "key": "77d1" * 16,
        "cached": False,
        "predicted_memory": 900 * MIB,
        "peak_memory": 700 * MIB,
        "predicted_disk": 91_000_000,
        "disk": 90_400_000,
        "digest": "e1b2" * 16,
        **fields,
    }
    return StepResult(name=name, stage=stage, seconds=seconds, **given)


STEPS = [
    step(
        "export",
        "export.onnx",
        0,
        cached=True,
        parameters={"opset": 23, "dynamic": True, "fusions": "cpu"},
        log="exported 6 layers\n",
    ),
    step(
        "quantize",
        "quantize.onnx_dynamic",
        6.42,
        fidelity="approximate",
        parameters={"per_channel": True, "skip": []},
        predicted_memory=480 * MIB,
        peak_memory=512 * MIB,
        predicted_disk=23_000_000,
        disk=23_400_000,
        records={
            "sensitivity": [
                {
                    "node": f"/encoder/layer.{i}/output/dense/MatMul",
                    "cosine": 0.9991 - 0.0011 * i,
                    "kept": i == 5,
                }
                for i in range(6)
            ],
            "error_by_layer": [0.0012, 0.0018, 0.0021, 0.0034, 0.0041, 0.0067],
        },
    ),
    step(
        "compile",
        "compile.onnxruntime",
        41.8,
        predicted_memory=400 * MIB,
        peak_memory=301 * MIB,
        predicted_disk=24_000_000,
        disk=23_400_000,
        parameters={"search": True},
        records={
            "variants": [
                {"name": "as exported", "p50_seconds": 0.0139, "chosen": False},
                {"name": "skip layer norm", "p50_seconds": 0.0129, "chosen": True},
            ],
            "decision": {"chosen": "skip layer norm", "reason": "fastest at batch 1", "margin": 0.072},
        },
    ),
]

ENVIRONMENT = Environment(
    hardware={
        "cpu": "Intel Xeon @ 2.60 GHz",
        "cores": "2",
        "memory": "7.8 GiB",
        "features": "avx512_vnni, avx512_bf16",
    },
    software={"python": "3.11.9", "torch": "2.13.0", "onnxruntime": "1.31.0", "modelwright": "0.1.0"},
    target={"device": "cpu", "threads": 2, "provider": "CPUExecutionProvider"},
)


def released(**changes: Any) -> Report:
    """A complete report of a run that made version 3."""
    fields: dict[str, Any] = {
        "name": "minilm-int8",
        "description": "Sentence embeddings in eight bits for two CPU cores.",
        "run_id": "20260102T030405Z-1a2b",
        "created": "2026-01-02T03:04:05Z",
        "verdict": "released",
        "version": 3,
        "baseline": BASELINE,
        "candidate": CANDIDATE,
        "gates": GATES,
        "values": VALUES,
        "steps": STEPS,
        "recovery": [
            recovery("prune", "prune.structured", quality("retrieval.mrr", 0.494, 0.379, -0.27, -0.2)),
            recovery("distill", "distill.embeddings", quality("retrieval.mrr", 0.494, 0.481, -0.045, -0.01)),
        ],
        "parity": [parity("export", 0.9999997, 0.9999991, 3.1e-6), parity("quantize", 0.9935, 0.986, 0.0721)],
        "fused_operators": {"Attention": 6, "SkipLayerNormalization": 12, "BiasGelu": 6},
        "data": [
            DataSummary(
                name="docs",
                use="python-docs",
                digest="d0c5" * 16,
                records={"calibration": 256, "validation": 300, "test": 1000},
            )
        ],
        "environment": ENVIRONMENT,
        "time": TimeSpent(total=192.4, steps=48.2, validation=141.0, orchestration=3.2),
        "reproduce": [
            "pip install 'modelwright[cpu]==0.1.0'",
            "modelwright run artifacts/minilm-int8/3/recipe.yaml",
        ],
        "notes": ["The provider has no int8 attention; attention runs in float32."],
    }
    return Report(**{**fields, **changes})


def rejected(**changes: Any) -> Report:
    """A run whose speed gate failed and whose fusion was not measured."""
    slow = GATES[1].model_copy(
        update={"measured": 1.61, "passed": False, "reason": "1.74× faster, at worst 1.61×: less than 2×."}
    )
    unmeasured = GATES[3].model_copy(
        update={"measured": None, "passed": False, "reason": "fusion.attention was not measured."}
    )
    gates = [GATES[0], slow, GATES[2], unmeasured]
    return released(**{"verdict": "rejected", "version": None, "gates": gates, **changes})


def failed(**changes: Any) -> Report:
    """A run whose second step crashed."""
    gone: dict[str, Any] = {
        "verdict": "failed",
        "version": None,
        "candidate": None,
        "failure": "The step 'quantize' ended by signal 9 (killed).\n"
        "  where: stages.quantize (quantize.onnx_dynamic)\n  next: give it more memory",
        "gates": [],
        "values": [],
        "parity": [],
        "recovery": [],
        "steps": STEPS[:1],
        "fused_operators": {},
        "notes": [],
    }
    return released(**{**gone, **changes})


def bare(**changes: Any) -> Report:
    """As little as a report may hold."""
    nothing = Environment(hardware={}, software={}, target={})
    return Report(
        **{
            "name": "bare",
            "run_id": "r",
            "created": "2026-01-02T03:04:05Z",
            "verdict": "unchanged",
            "version": 1,
            "baseline": BASELINE,
            "environment": nothing,
            "time": TimeSpent(total=0, steps=0, validation=0, orchestration=0),
            **changes,
        }
    )
