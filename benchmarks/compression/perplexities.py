"""Perplexity of what chains of stages make of the reference language model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmarks.compression.made import Made
from benchmarks.compression.table import Row, dumped
from benchmarks.models.perplexity import METRIC, observe
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
