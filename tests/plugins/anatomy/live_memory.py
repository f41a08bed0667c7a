"""Bytes that tensors hold while a model runs, followed operation by operation."""

from __future__ import annotations

import weakref
from collections import Counter
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the cpu extra")
dispatch = pytest.importorskip("torch.utils._python_dispatch")
pytree = pytest.importorskip("torch.utils._pytree")


class LiveMemory(dispatch.TorchDispatchMode):
    """Counts every storage that comes into being inside it, and when the last tensor on it is gone.

    >>> with torch.inference_mode(), LiveMemory() as memory:
    ...     model(ids)
    >>> memory.peak
    """

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._tensors: Counter[int] = Counter()
        self._before: set[int] = set()

    def ignore(self, *tensors: Any) -> None:
        self._before |= {tensor.untyped_storage()._cdata for tensor in tensors}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in pytree.tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                self._follow(tensor)
        return out

    def _follow(self, tensor: Any) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._before:
            return
        if not self._tensors[key]:
            self.live += size
            self.peak = max(self.peak, self.live)
        self._tensors[key] += 1
        weakref.finalize(tensor, self._gone, key, size)

    def _gone(self, key: int, size: int) -> None:
        self._tensors[key] -= 1
        if not self._tensors[key]:
            self.live -= size
