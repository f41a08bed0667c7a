"""A sentence encoder with half of its layers or fewer neurons, before and after it was taught."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors import safe_open

from benchmarks.compression.encoder_chains import DEPLOYED, SMALLER
from benchmarks.compression.made import made
from benchmarks.compression.table import Row, Table, change, dumped, grid
from benchmarks.models.observe import observe
from modelwright.api.model import Model
from modelwright_plugins.dataset.python_docs import PythonDocs
from modelwright_plugins.metric.latency import Latency
from modelwright_plugins.metric.retrieval import Retrieval

MODEL = "minilm"
DOCS = {"use": "python-docs"}
RETRIEVAL = Retrieval(data="docs", queries=1000, k=10)
CELLS = ((1, 128), (16, 128))
LATENCY = Latency(batch=(1, 16), length=(128,), rounds=9)


def parameters(model: Model) -> dict[str, int]:
    """Parameters of a checkpoint, and those of its layers: without embeddings and pooler."""
    found = {"parameters": 0, "in_layers": 0}
    with safe_open(model.path / "model.safetensors", "pt") as file:
        for name in file.keys():  # noqa: SIM118 - not a mapping
            size = 1
            for axis in file.get_slice(name).get_shape():
                size *= axis
            found["parameters"] += size
            found["in_layers"] += size if "encoder.layer." in name else 0
    return found


def measure(work: Path) -> list[Row]:
    """Retrieval and speed of each as deployed in ONNX Runtime, compared with the whole model there."""
    counted = {row.name: parameters(row.model) for row in made(SMALLER, MODEL, work, DOCS)}
    found = [*made(DEPLOYED, MODEL, work, DOCS)]
    models = [row.model for row in found]
    searched = observe(RETRIEVAL, models, {"docs": PythonDocs()})
    timed = observe(LATENCY, models)
    rows: list[Row] = []
    for made_of, ranks, times in zip(found, searched, timed, strict=True):
        mrr = RETRIEVAL.compare(searched[0], ranks, 0)[0]
        speed = [value for value in LATENCY.compare(timed[0], times, 0) if value.name == "latency.p50"]
        rows.append(
            {
                "name": made_of.name,
                "stages": made_of.chain,
                **counted[made_of.name.removesuffix(", int8")],
                "bytes": sum(file.stat().st_size for file in made_of.model.path.glob("*.onnx*")),
                "seconds": made_of.seconds,
                "mrr": dumped(mrr.candidate),
                "change": dumped(mrr.difference) if rows else None,
                "latency": [
                    {"at": value.at, "ms": dumped(value.candidate), "faster": dumped(value.ratio)}
                    for value in speed
                ],
            }
        )
    return rows


def lines(rows: Sequence[Row]) -> list[str]:
    """The table."""
    cells = [
        [
            row["name"],
            f"{row['parameters'] / 1e6:.1f}",
            f"{row['in_layers'] / 1e6:.1f}",
            f"{row['bytes'] / 1e6:.1f}",
            f"{row['mrr']['value']:.3f}",
            f"{1 + row['change']['value']:.1%}" if row["change"] else "",
            change(row),
            *(_speed(cell) for cell in row["latency"]),
            f"{row['seconds'] / 60:.0f}",
        ]
        for row in rows
    ]
    grids = [f"{batch} x {length}" for batch, length in CELLS]
    return [
        f"MRR@{RETRIEVAL.k} of {RETRIEVAL.queries:,} queries of the test split, what is kept of it, and the "
        "change with its paired 95 % interval. Milliseconds by batch x length from token ids to the "
        "embedding, and how many times as fast as the first row: medians over rounds in which all models "
        "take turns. Everything runs in ONNX Runtime, attention fused; parameters are in millions, those in "
        "the layers without embeddings and pooler; minutes are of all steps that made the model.",
        "",
        *grid(
            ["model", "parameters", "in the layers", "MB", "MRR@10", "kept", "change", *grids, "minutes"],
            cells,
        ),
    ]


def _speed(cell: dict[str, Any]) -> str:
    faster = cell["faster"]
    return f"{cell['ms']['value']:.2f}, **{faster['value']:.2f}×** ({faster['low']:.2f}–{faster['high']:.2f})"


TABLE = Table("A sentence encoder with less in its layers", measure, lines)
