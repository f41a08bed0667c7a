"""A classifier of Python's documentation by the family of its module, and its student of half the depth."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.compression.made import Chain, made
from benchmarks.compression.table import Row, Table, change, dumped, grid
from benchmarks.models.observe import observe
from benchmarks.models.weights import minilm
from modelwright_plugins.dataset.python_docs import PythonDocs
from modelwright_plugins.metric.accuracy import Accuracy

DOCS = {"use": "python-docs"}
ACCURACY = Accuracy(data="docs", samples=2000)
SEED = 0

TRAINING: dict[str, Any] = {
    "use": "distill.logits",
    "data": "docs",
    "batch_size": 16,
    "learning_rate": 1.0e-4,
    "freeze": ["*embeddings.*"],
    "evaluate_every": 50,
}
# Labels alone: the teacher has no weight.
FINE_TUNED: Chain = {"tune": {**TRAINING, "alpha": 0, "epochs": 6}}


def _student(**fields: Any) -> Chain:
    return {**FINE_TUNED, "distill": {**TRAINING, "teacher": "incoming", "layers": "spread 3", **fields}}


CHAINS: dict[str, Chain] = {
    "6 layers, fine-tuned": FINE_TUNED,
    "3 of its layers, untaught": _student(alpha=1, steps=1, learning_rate=1e-30),
    "3 of its layers, taught by labels": _student(alpha=0, epochs=12),
    "3 of its layers, taught by the whole and labels": _student(alpha=0.7, epochs=12),
}


def write_classifier(folder: Path) -> Path:
    """The encoder's layers with a new head for the labels of the train split; made when not there."""
    if (folder / "model.safetensors").is_file():
        return folder
    import torch
    from transformers import AutoModelForSequenceClassification

    source = minilm()
    labels = sorted({record["label"] for record in PythonDocs().load("train")})
    torch.manual_seed(SEED)
    model = AutoModelForSequenceClassification.from_pretrained(
        source,
        id2label=dict(enumerate(labels)),
        label2id={label: index for index, label in enumerate(labels)},
    )
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        shutil.copyfile(source / name, folder / name)
    return folder


def measure(work: Path) -> list[Row]:
    """Accuracy on the test split, compared with the first."""
    found = [*made(CHAINS, write_classifier(work / "classifier"), work, DOCS)]
    judged = observe(ACCURACY, [row.model for row in found], {"docs": PythonDocs()})
    rows: list[Row] = []
    for made_of, right in zip(found, judged, strict=True):
        value = ACCURACY.compare(judged[0], right, 0)[0]
        rows.append(
            {
                "name": made_of.name,
                "stages": made_of.chain,
                "texts": value.protocol["texts"],
                "accuracy": dumped(value.candidate),
                "change": dumped(value.difference) if rows else None,
                "seconds": made_of.seconds,
            }
        )
    return rows


def lines(rows: Sequence[Row]) -> list[str]:
    """The table."""
    cells = [
        [
            row["name"],
            f"{row['accuracy']['value']:.1%}",
            f"{1 + row['change']['value']:.1%}" if row["change"] else "",
            change(row),
        ]
        for row in rows
    ]
    return [
        f"Accuracy on {rows[0]['texts']:,} texts of the test split, what is kept of it, and the change "
        "with its paired 95 % interval.",
        "",
        *grid(["model", "accuracy", "kept", "change"], cells),
    ]


TABLE = Table("A classifier and its student of half the depth", measure, lines)
