"""Peak memory of the methods that go through a model block by block, on a model of 1.1 billion parameters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.compression.made import Chain
from benchmarks.compression.table import Row, Table, grid
from benchmarks.models.perplexity import DOCS
from benchmarks.models.shape import write_checkpoint
from benchmarks.models.steps import run_stages

SHAPE = "1100m"
CALIBRATED: dict[str, Any] = {"data": "docs", "split": "train", "samples": 32, "length": 512}
CHAINS: dict[str, Chain] = {
    "Wanda, 50 %": {"prune": {"use": "prune.wanda", "sparsity": 0.5, **CALIBRATED}},
    "SparseGPT, 50 %": {"prune": {"use": "prune.sparsegpt", "sparsity": 0.5, **CALIBRATED}},
    "GPTQ, 4 bits": {"quantize": {"use": "quantize.gptq", "bits": 4, "group_size": 128, **CALIBRATED}},
}


def measure(work: Path) -> list[Row]:
    """The peak that each step's own process had."""
    model = write_checkpoint(SHAPE, work)
    weights = sum(file.stat().st_size for file in model.glob("*.safetensors"))
    rows = []
    for name, chain in CHAINS.items():
        print(f"{name} ...", flush=True)
        done = run_stages(chain, model, work, {"docs": DOCS})
        [result], [seconds] = done.results, done.seconds.values()
        rows.append(
            {
                "name": name,
                "stages": chain,
                "weights": weights,
                "peak": result.peak_memory,
                "predicted": result.predicted_memory,
                "seconds": seconds,
            }
        )
    return rows


def lines(rows: Sequence[Row]) -> list[str]:
    """The table."""
    cells = [
        [
            row["name"],
            f"{row['weights'] / 1e9:.2f}",
            f"{row['peak'] / 1e9:.2f}",
            f"{(row['peak'] - row['weights']) / 1e9:.2f}",
            f"{row['predicted'] / 1e9:.2f}",
            f"{row['seconds'] / 60:.0f}",
        ]
        for row in rows
    ]
    return [
        f"A Llama of the {SHAPE} shape with random weights in bfloat16, calibrated on "
        f"{CALIBRATED['samples']} windows of {CALIBRATED['length']} tokens. Gigabytes: the checkpoint, the "
        "largest resident set of the step's own process, what that is more than the checkpoint, and what the "
        "plan predicted.",
        "",
        *grid(["step", "weights", "peak", "beyond", "predicted", "minutes"], cells),
    ]


TABLE = Table("Memory of calibrated compression", measure, lines)
