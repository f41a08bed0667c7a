"""Perplexity of the reference language model after compression."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from benchmarks.compression import peer
from benchmarks.compression.language_chains import BITS, HEALED, SPARSE, WHOLE
from benchmarks.compression.made import Chain, Made, made
from benchmarks.compression.table import Row, Table, change, dumped, grid
from benchmarks.models.perplexity import DOCS, METRIC, observe
from modelwright.api.metric import Observation
from modelwright_plugins.metric.size import deflated_bytes

REFERENCE = "reference-lm"


def perplexities(found: Iterable[Made]) -> list[Row]:
    """Figures of each, compared with the first."""
    rows: list[Row] = []
    baseline: Observation | None = None
    for name, chain, model, seconds in found:
        observed = observe(model)
        baseline = baseline or observed
        value = METRIC.compare([baseline], [observed], 0)[0]
        files = [*model.path.glob("*.safetensors")]
        rows.append(
            {
                "name": name,
                "stages": chain,
                "perplexity": value.candidate.value,
                "tokens": value.protocol["tokens"],
                "change": dumped(value.difference) if rows else None,
                "bytes": sum(file.stat().st_size for file in files),
                "zipped": sum(map(deflated_bytes, files)),
                "seconds": seconds,
            }
        )
    return rows


def protocol(rows: Sequence[Row]) -> str:
    """How perplexity was found."""
    return (
        f"Perplexity on the test split ({rows[0]['tokens']:,} tokens, windows of {METRIC.length} with a "
        f"stride of {METRIC.stride}) in PyTorch. The change is against the first row over the same windows, "
        "with its paired 95 % interval."
    )


def lines(rows: Sequence[Row]) -> list[str]:
    """The table."""
    cells = [
        [
            row["name"],
            f"{row['perplexity']:.2f}",
            change(row),
            f"{row['bytes'] / 1e6:.2f}",
            f"{row['zipped'] / 1e6:.2f}",
        ]
        for row in rows
    ]
    return [
        f"{protocol(rows)} Megabytes are of the weights, zipped by DEFLATE: what zeros save without a kernel "
        "that skips them. No speed is claimed.",
        "",
        *grid(["weights", "perplexity", "change", "MB", "zipped"], cells),
    ]


def _of(chains: dict[str, Chain]) -> Callable[[Path], list[Row]]:
    return lambda work: perplexities(made(chains, REFERENCE, work, DOCS))


def _beside_peer(work: Path) -> list[Row]:
    """The reference, and GPTQ by us and by the peer."""

    def found() -> Iterator[Made]:
        [reference, *ours] = made({**WHOLE, **peer.chains()}, REFERENCE, work, DOCS)
        yield reference
        theirs = dict(peer.theirs(reference.model, {row.name: row.model for row in ours}, work))
        for row in ours:
            yield row
            name = row.name.replace("ours", "llm-compressor")
            yield Made(name, row.chain, theirs[name])

    return perplexities(found())


TABLES = {
    "sparse": Table("Weights zeroed at once", _of(SPARSE), lines),
    "healed": Table("Weights zeroed and the rest trained", _of(HEALED), lines),
    "bits": Table("Linear layers in few bits", _of(BITS), lines),
    "peer": Table("GPTQ beside llm-compressor", _beside_peer, lines),
}
