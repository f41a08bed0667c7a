"""Perplexity of the reference language model after compression."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.compression import peer
from benchmarks.compression.language_chains import BITS, HEALED, SPARSE, WHOLE
from benchmarks.compression.made import Chain, Made, made
from benchmarks.compression.perplexities import REFERENCE, perplexities, protocol
from benchmarks.compression.table import Row, Table, change, grid
from benchmarks.models.perplexity import DOCS


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
            yield Made(name, None, theirs[name])

    return perplexities(found())


TABLES = {
    "sparse": Table("Weights zeroed at once", _of(SPARSE), lines),
    "healed": Table("Weights zeroed and the rest trained", _of(HEALED), lines),
    "bits": Table("Linear layers in few bits", _of(BITS), lines),
    "peer": Table("GPTQ beside llm-compressor", _beside_peer, lines),
}
