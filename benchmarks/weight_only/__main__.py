"""Perplexity of the reference model in four bits, by method, and of mixtures beside uniform bits.

    python -m benchmarks.weight_only --out benchmarks/results

Each variant is one `quantize.onnx_weight_only` step on the same exported graph, run in ONNX Runtime on the
test split of `{use: python-docs, form: text}`, which calibrated nothing.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.models.perplexity import DOCS, METRIC, observe
from benchmarks.models.steps import run_stages
from benchmarks.record import heading, write
from benchmarks.turns.machine import cpu_model
from benchmarks.weight_only.variants import PAIRS, VARIANTS
from modelwright.api.metric import Observation, Value
from modelwright.api.model import Model


def quantized(parameters: dict[str, Any] | None, place: Path) -> tuple[Model, dict[str, Any]]:
    """The reference model exported and quantized, and what the step recorded."""
    stages: dict[str, Any] = {"export": {"use": "export.onnx"}}
    if parameters is not None:
        stages["quantize"] = {"use": "quantize.onnx_weight_only", **parameters}
    done = run_stages(stages, "reference-lm", place, {"docs": DOCS})
    last = done.results[-1]
    return done.models[last.name], dict(last.records)


def compared(baseline: Observation, candidate: Observation) -> Value:
    """Perplexity of both, and the change with its interval."""
    return METRIC.compare([baseline], [candidate], 0)[0]


def markdown(document: dict[str, Any]) -> str:
    """The table."""
    lines = [
        "# Weight-only quantization of the reference model",
        "",
        f"{document['date']} · {document['cpu']} · `{document['command']}`",
        "",
        f"Perplexity on the test split ({document['tokens']:,} tokens, windows of {METRIC.length} with a "
        f"stride of {METRIC.stride}) in ONNX Runtime; blocks of 32 with zero points unless said otherwise. "
        "The change is against float32 over the same windows, with its paired 95 % interval. Stored bits "
        "count scales and zero points of the quantized layers.",
        "",
        "| weights | perplexity | change | stored bits | MB |",
        "|---|---|---|---|---|",
    ]
    for row in document["rows"]:
        change = row["change"]
        shown = f"{change['value']:+.2%} ({change['low']:+.2%} … {change['high']:+.2%})" if change else ""
        bits = f"{row['stored_bits']:.2f}" if row["stored_bits"] else ""
        lines.append(
            f"| {row['name']} | {row['perplexity']:.3f} | {shown} | {bits} | {row['bytes'] / 1e6:.2f} |"
        )
    lines += ["", "Against each other, over the same windows:", ""]
    for pair in document["pairs"]:
        change = pair["change"]
        shown = f"{change['value']:+.2%} ({change['low']:+.2%} … {change['high']:+.2%})"
        lines.append(f"- {pair['name']} against {pair['against']}: {shown}")
    return "\n".join(lines) + "\n"


def main(argv: list[str] | None = None) -> int:
    """Quantize, measure, write `weight_only.json` and `weight_only.md`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.weight_only")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder for the results")
    arguments = parser.parse_args(argv)
    rows: list[dict[str, Any]] = []
    observations: dict[str, Observation] = {}
    tokens = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, parameters in VARIANTS.items():
            print(f"{name} ...", flush=True)
            model, records = quantized(parameters, Path(folder))
            observations[name] = observed = observe(model)
            value = compared(next(iter(observations.values())), observed)
            tokens = int(str(value.protocol["tokens"]))
            bits = records.get("bits", {})
            rows.append(
                {
                    "name": name,
                    "parameters": parameters,
                    "perplexity": value.candidate.value,
                    "change": value.difference.model_dump() if parameters and value.difference else None,
                    "stored_bits": bits.get("with_scales") if isinstance(bits, dict) else None,
                    "bytes": sum(file.stat().st_size for file in model.path.glob("model.onnx*")),
                }
            )
    pairs = []
    for name, against in PAIRS:
        difference = compared(observations[against], observations[name]).difference
        assert difference is not None, "perplexity has one"
        pairs.append({"name": name, "against": against, "change": difference.model_dump()})
    document = {
        **heading("weight_only", argv),
        "cpu": cpu_model(),
        "tokens": tokens,
        "rows": rows,
        "pairs": pairs,
    }
    print(write(document, markdown(document), arguments.out, "weight_only"))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
