"""Writes llama2.c's `model.bin`, some rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from modelwright.errors import StageError
from modelwright_plugins.format.checkpoint_weight import Weight
from modelwright_plugins.llama2c.layout import Header, Part, parts
from modelwright_plugins.llama2c.quantize import quantize
from modelwright_plugins.llama2c.rotary import tables


def write_model(
    file: Path, header: Header, weights: Mapping[Part, Weight], progress: Callable[[int, int, str], None]
) -> None:
    """Write a file: the header, then each part of its layout.

    `weights` are those of `match_weights`. Raises StageError for a weight that is NaN or infinite.
    """
    layout = list(parts(header))
    with file.open("wb") as stream:
        stream.write(header.pack())
        for done, part in enumerate(layout):
            if part in weights:
                _write_weight(stream, part, weights[part])
            else:
                cosines, sines = tables(np.arange(header.length), header.head_dim)
                (cosines if part.name == "freqs_cos" else sines).astype("<f4").tofile(stream)
            assert stream.tell() == part.end, part
            progress(done + 1, len(layout), part.name)


def _write_weight(stream: BinaryIO, part: Part, weight: Weight) -> None:
    scales = []
    for values in weight.pieces():
        if not np.isfinite(values).all():
            raise StageError(
                f"The weight '{weight.name}' holds NaN or infinity.",
                where=str(weight.file),
                hint="use a checkpoint whose training did not diverge",
            )
        if part.quantized:
            quantized, scale = quantize(values, part.group_size)
            stream.write(quantized.tobytes())
            scales.append(scale)
        else:
            stream.write(values.astype("<f4", copy=False).tobytes())
    for scale in scales:
        stream.write(scale.astype("<f4", copy=False).tobytes())
