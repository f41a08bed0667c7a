"""Buffers that hold keys and values of a batch between two runs of a graph."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import numpy as np

from modelwright_plugins.format.onnx_causal_graph import CacheTensor, CausalGraph

if TYPE_CHECKING:
    import onnxruntime

CacheKind = Literal["shared", "ping-pong"]
DEVICES = {
    "CUDAExecutionProvider": "cuda",
    "TensorrtExecutionProvider": "cuda",
    "NvTensorRTRTXExecutionProvider": "cuda",
}


class CacheBuffers:
    """Memory for `capacity` tokens, allocated once and bound in place.

    >>> buffers = CacheBuffers("shared", graph, batch=1, capacity=128, device="cpu")
    >>> buffers.bind(binding, past=0, length=100)

    `shared` buffers are input and output at once, which fused attention allows: it appends in place. With
    `ping-pong` each layer has two, and what was output of one run is input of the next.
    """

    def __init__(self, kind: CacheKind, graph: CausalGraph, batch: int, capacity: int, device: str) -> None:
        self._graph = graph
        self._batch = batch
        self._capacity = capacity
        self._device = device
        self._bound: onnxruntime.IOBinding | None = None
        self._sets = [
            {cache.past: _allocate(cache, batch, capacity, device) for cache in graph.caches}
            for _ in range(1 if kind == "shared" else 2)
        ]

    @property
    def nbytes(self) -> int:
        """Bytes of all buffers."""
        per_set = sum(
            math.prod(cache.shape(self._batch, self._capacity)) * cache.dtype.itemsize
            for cache in self._graph.caches
        )
        return per_set * len(self._sets)

    def bind(self, binding: onnxruntime.IOBinding, past: int, length: int) -> None:
        """Bind them for a run that adds `length` tokens to `past` ones."""
        if len(self._sets) == 1:
            if self._bound is not binding:
                self._bind(binding, self._sets[0], self._sets[0], self._capacity, self._capacity)
            self._bound = binding
            return
        self._bind(binding, self._sets[0], self._sets[1], past, past + length)
        self._sets.reverse()

    def _bind(
        self,
        binding: onnxruntime.IOBinding,
        read: dict[str, onnxruntime.OrtValue],
        written: dict[str, onnxruntime.OrtValue],
        before: int,
        after: int,
    ) -> None:
        for cache in self._graph.caches:
            shape = cache.shape(self._batch, before)
            pointer = read[cache.past].data_ptr()
            binding.bind_input(cache.past, self._device, 0, cache.dtype.type, shape, pointer)
            shape = cache.shape(self._batch, after)
            pointer = written[cache.past].data_ptr()
            binding.bind_output(cache.present, self._device, 0, cache.dtype.type, shape, pointer)


def _allocate(cache: CacheTensor, batch: int, capacity: int, device: str) -> onnxruntime.OrtValue:
    import onnxruntime as ort

    shape = cache.shape(batch, capacity)
    if device == "cpu":
        # Zeroed pages cost no memory until they are written.
        return ort.OrtValue.ortvalue_from_numpy(np.zeros(shape, cache.dtype))
    return ort.OrtValue.ortvalue_from_shape_and_type(shape, cache.dtype.type, device, 0)
