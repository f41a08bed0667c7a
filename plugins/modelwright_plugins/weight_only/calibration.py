"""What runs through an ONNX graph to calibrate weight-only quantization, and the statistics of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from modelwright.api.context import StageContext
from modelwright.api.dataset import Split
from modelwright.api.model import GenerationSpec, Model
from modelwright.api.runner import Inputs
from modelwright.errors import StageError
from modelwright_plugins.text.calibration import calibration_batches
from modelwright_plugins.weight_only.layers import Layer

if TYPE_CHECKING:
    import onnx_ir as ir

# Hessians of all layers of a large model do not fit; the texts run again for each part of them.
HESSIAN_BYTES = 768 << 20
CACHE = "past_key_values."
Feed = dict[str, np.ndarray]


def calibration_feeds(
    model: Model, ctx: StageContext, graph: ir.Model, data: str, split: Split, samples: int, length: int
) -> list[Feed]:
    """Inputs of a graph for up to `samples` pieces of a split, one by one and unpadded.

    Pieces are those of `calibration_batches`; caches are empty.
    """
    batches = calibration_batches(model, ctx, data, split, samples, length)
    width = _head_width(graph, model.spec.generation)
    return [_feed(graph, batch, width) for batch in batches]


def hessians(
    graph: ir.Model, layers: Sequence[Layer], feeds: Sequence[Feed]
) -> Iterator[tuple[Layer, NDArray[np.float64]]]:
    """Each layer with the sum of outer products of its inputs, float64 [inputs, inputs].

    Layers that read the same value share one. All values are taken from the float graph.
    """
    from modelwright_plugins.quantize.graph_values import values_of

    readers: dict[str, list[Layer]] = {}
    for layer in layers:
        readers.setdefault(layer.activation, []).append(layer)
    for names in _parts({name: found[0].inputs for name, found in readers.items()}):
        sums = {name: np.zeros((readers[name][0].inputs,) * 2) for name in names}
        for values in values_of(graph, names, feeds):
            for name, value in values.items():
                rows = value.reshape(-1, value.shape[-1]).astype(np.float32)
                sums[name] += rows.T @ rows
        for name in names:
            for layer in readers[name]:
                yield layer, sums[name]


def _parts(widths: dict[str, int]) -> list[list[str]]:
    """Names in parts whose Hessians fit into memory together."""
    parts: list[list[str]] = []
    room = 0
    for name, width in widths.items():
        if not parts or 8 * width**2 > room:
            parts.append([])
            room = HESSIAN_BYTES
        parts[-1].append(name)
        room -= 8 * width**2
    return parts


def _head_width(graph: ir.Model, generation: GenerationSpec | None) -> int:
    """Width of a cached key, for graphs that do not say it; 0 where nothing does."""
    heads = [
        size
        for value in graph.graph.inputs
        if str(value.name).startswith(CACHE)
        and value.shape is not None
        and isinstance(size := value.shape[1], int)
    ]
    elements = generation.cache_elements if generation is not None else None
    return elements // sum(heads) if elements and heads else 0


def _feed(graph: ir.Model, batch: Inputs, head_width: int) -> Feed:
    """All inputs of a graph: the batch's, positions, and caches without anything in them."""
    feed: Feed = {}
    for value in graph.graph.inputs:
        name = str(value.name)
        if name in graph.graph.initializers:
            continue  # it has a default
        if name in batch:
            feed[name] = batch[name]
        elif name == "position_ids":
            feed[name] = np.arange(batch["input_ids"].shape[1])[None]
        elif name == "token_type_ids":
            feed[name] = np.zeros_like(batch["input_ids"])
        elif name.startswith(CACHE) and value.shape is not None and value.dtype is not None:
            _, heads, _, width = value.shape
            shape = (1, heads, 0, width if isinstance(width, int) else head_width)
            feed[name] = np.zeros(
                [size if isinstance(size, int) else 0 for size in shape], value.dtype.numpy()
            )
        else:
            raise StageError(
                f"Nothing is known to feed the graph's input '{name}' with.",
                where=f"the graph's input {name}",
                accepted=f"input_ids, attention_mask, position_ids, token_type_ids, {CACHE}N.key and .value",
            )
    return feed
