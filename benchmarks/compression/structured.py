"""A language model with fewer parameters, before and after it was taught by the whole one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.compression.language_chains import STRUCTURED
from benchmarks.compression.made import made
from benchmarks.compression.perplexities import REFERENCE, perplexities, protocol
from benchmarks.compression.table import Row, Table, change, dumped, grid
from benchmarks.models.observe import observe
from benchmarks.models.perplexity import DOCS
from modelwright.api.model import Model
from modelwright_plugins.metric.decode import Decode

DEPLOYED = {
    "export": {"use": "export.onnx", "opset": 23},
    "compile": {"use": "compile.onnxruntime", "variant": "fused"},
}
DECODE = Decode(batch=(1,), length=(128,), new_tokens=256, rounds=15)
ELSEWHERE = """
import json, sys
from transformers import AutoModelForCausalLM
model = AutoModelForCausalLM.from_pretrained(sys.argv[1])
assert not [name for name in sys.modules if name.startswith("modelwright")]
in_layers = sum(weight.numel() for weight in model.model.layers.parameters())
print(json.dumps({"parameters": model.num_parameters(), "in_layers": in_layers}))
"""


def loaded_elsewhere(model: Model) -> dict[str, Any]:
    """What a process counts that loads the checkpoint with transformers alone, none of our code."""
    command = [sys.executable, "-I", "-c", ELSEWHERE, str(model.path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(work: Path) -> list[Row]:
    """Perplexity in PyTorch; new tokens per second in ONNX Runtime, all models taking turns."""
    found = [*made(STRUCTURED, REFERENCE, work, DOCS)]
    rows = perplexities(found)
    deployed = {name: {**chain, **DEPLOYED} for name, chain in STRUCTURED.items()}
    first, *others = observe(DECODE, [row.model for row in made(deployed, REFERENCE, work, DOCS)])
    for row, made_of, rounds in zip(rows, found, [first, *others], strict=True):
        [speed] = [
            value for value in DECODE.compare(first, rounds, 0) if value.name == "decode.tokens_per_second"
        ]
        row |= loaded_elsewhere(made_of.model)
        row |= {"tokens_per_second": dumped(speed.candidate), "faster": dumped(speed.ratio)}
    return rows


def lines(rows: Sequence[Row]) -> list[str]:
    """The table."""
    whole = rows[0]
    cells = [
        [
            row["name"],
            f"{row['parameters']:,} ({row['parameters'] / whole['parameters'] - 1:+.1%})",
            f"{row['in_layers']:,} ({row['in_layers'] / whole['in_layers'] - 1:+.1%})",
            f"{row['perplexity']:.2f}",
            change(row),
            f"{row['tokens_per_second']['value']:,.0f}",
            f"{row['faster']['value']:.2f} ({row['faster']['low']:.2f} … {row['faster']['high']:.2f})",
        ]
        for row in rows
    ]
    return [
        f"{protocol(rows)} Parameters are counted in a process that loads the checkpoint with transformers "
        f"alone. Tokens per second are of one text, {DECODE.new_tokens} after a prompt of 128, in ONNX "
        "Runtime, float32, attention fused; each model in a process of its own, in turns.",
        "",
        *grid(
            ["weights", "parameters", "in the layers", "perplexity", "change", "tokens/s", "times as fast"],
            cells,
        ),
    ]


TABLE = Table("A language model with fewer parameters", measure, lines)
