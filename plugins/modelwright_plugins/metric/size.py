"""Bytes on disk, as they are and compressed."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import Field

from modelwright.api.metric import Metric, MetricContext, Observation, Value
from modelwright.api.model import Model
from modelwright.api.runner import Runner
from modelwright_plugins.metric.memory import bytes_value

CHUNK = 1 << 20


class Size(Metric, name="size", needs_runner=False, figures=("disk", "zipped")):
    """Bytes of all files in the model's folder, tokenizer included.

    ::

        size: {}
        size: {zipped: true}

    `size.zipped` is what they come to compressed one by one by DEFLATE at its default level, as a zip file
    would hold them: what zeros in the weights save where no kernel makes use of them. It takes some ten
    seconds a gigabyte.
    """

    zipped: bool = Field(False, description="Also compress, which takes a while on a large model.")

    def observe(self, model: Model, runner: Runner | None, ctx: MetricContext) -> Iterator[Observation]:
        """One round: the sums."""
        files = [file for file in model.path.rglob("*") if file.is_file()]
        found = {"bytes": sum(file.stat().st_size for file in files)}
        yield found | ({"zipped": sum(map(deflated_bytes, files))} if self.zipped else {})

    def compare(
        self, baseline: Sequence[Observation], candidate: Sequence[Observation], seed: int
    ) -> list[Value]:
        """Bytes of both, and how many times smaller."""
        figures = {"size.disk": "bytes"} | ({"size.zipped": "zipped"} if self.zipped else {})
        return [bytes_value(name, baseline[0][key], candidate[0][key]) for name, key in figures.items()]


def deflated_bytes(file: Path) -> int:
    """Bytes of a file compressed by DEFLATE (RFC 1951)."""
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    total = 0
    with file.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            total += len(compressor.compress(chunk))
    return total + len(compressor.flush())
