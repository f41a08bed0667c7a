"""Perplexity of the reference language model after compression, one table for each kind.

    python -m benchmarks.compression --table sparse --table bits --table peer

The test split of `{use: python-docs, form: text}` judges; it calibrated and trained nothing. What stands in
`--work` is taken from there.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.compression import peer
from benchmarks.compression.language_chains import TABLES, Chain
from benchmarks.models.perplexity import DOCS, METRIC, observe
from benchmarks.models.steps import run_stages
from benchmarks.record import heading, write
from benchmarks.turns.machine import cpu_model
from modelwright.api.metric import Observation
from modelwright.api.model import Model
from modelwright_plugins.metric.size import deflated_bytes

WORK = Path.home() / ".cache" / "modelwright" / "benchmarks" / "compression"
REFERENCE = "reference-lm"
PEER = "peer"


class Row(NamedTuple):
    """A model, the chain that made it, and the seconds that took when it was made here."""

    name: str
    chain: Chain
    model: Model
    seconds: float | None = None


def made(chains: dict[str, Chain], work: Path) -> Iterator[Row]:
    """What each chain makes of the reference."""
    for name, chain in chains.items():
        print(f"{name} ...", flush=True)
        # A cast to what the weights are in changes nothing: the reference as a step's result.
        stages = chain or {"cast": {"use": "cast.dtype", "dtype": "fp32"}}
        runner = run_stages(stages, REFERENCE, work, {"docs": DOCS})
        seconds = sum(result.seconds for result in runner.results)
        yield Row(name, chain, runner.models[runner.results[-1].name], seconds)


def beside_peer(work: Path) -> Iterator[Row]:
    """The reference, and GPTQ by us and by the peer."""
    [reference, *ours] = made({"float32": {}, **peer.chains()}, work)
    yield reference
    by_name = {row.name: row.model for row in ours}
    theirs = dict(peer.theirs(reference.model, by_name, work))
    for row in ours:
        yield row
        name = row.name.replace("ours", "llm-compressor")
        yield Row(name, row.chain, theirs[name])


def measured(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Figures of each, compared with the first."""
    found: list[dict[str, Any]] = []
    baseline: Observation | None = None
    for row in rows:
        observed = observe(row.model)
        baseline = baseline or observed
        value = METRIC.compare([baseline], [observed], 0)[0]
        files = [*row.model.path.glob("*.safetensors")]
        found.append(
            {
                "name": row.name,
                "stages": row.chain,
                "perplexity": value.candidate.value,
                "tokens": value.protocol["tokens"],
                "change": value.difference.model_dump() if found and value.difference else None,
                "bytes": sum(file.stat().st_size for file in files),
                "zipped": sum(map(deflated_bytes, files)),
                "seconds": row.seconds,
            }
        )
    return found


def markdown(document: dict[str, Any]) -> str:
    """The table."""
    rows = document["rows"]
    lines = [
        f"# Compression of the reference model: {document['table']}",
        "",
        f"{document['date']} · {document['cpu']} · `{document['command']}`",
        "",
        f"Perplexity on the test split ({rows[0]['tokens']:,} tokens, windows of {METRIC.length} with a "
        f"stride of {METRIC.stride}) in PyTorch. The change is against the first row over the same windows, "
        "with its paired 95 % interval. Megabytes are of the weights, zipped by DEFLATE.",
        "",
        "| weights | perplexity | change | MB | zipped |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        change = row["change"]
        shown = f"{change['value']:+.1%} ({change['low']:+.1%} … {change['high']:+.1%})" if change else ""
        size = f"{row['bytes'] / 1e6:.2f} | {row['zipped'] / 1e6:.2f}"
        lines.append(f"| {row['name']} | {row['perplexity']:.2f} | {shown} | {size} |")
    return "\n".join(lines) + "\n"


def main(argv: list[str] | None = None) -> int:
    """Make, measure, and write `compression-TABLE.json` and `.md`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compression")
    parser.add_argument("--table", action="append", choices=[*TABLES, PEER], help="default: all of them")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder for the results")
    parser.add_argument("--work", type=Path, default=WORK, help="where models are kept")
    arguments = parser.parse_args(argv)
    for table in arguments.table or (*TABLES, PEER):
        rows = beside_peer(arguments.work) if table == PEER else made(TABLES[table], arguments.work)
        document = {
            **heading("compression", argv),
            "table": table,
            "cpu": cpu_model(),
            "rows": measured(rows),
        }
        print(write(document, markdown(document), arguments.out, f"compression-{table}"))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
