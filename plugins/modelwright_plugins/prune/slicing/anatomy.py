"""The anatomy of a transformer after it is cut, before a weight is read."""

from __future__ import annotations

import math
from collections import Counter

from modelwright.api.anatomy import Anatomy, LayerCache, Module, Tensor
from modelwright_plugins.prune.slicing.axes import Dimensions, Sizes, length, sizes_of
from modelwright_plugins.prune.slicing.families import Family


class ParameterCount:
    """How many parameters a model has at other sizes; tensors that its class does not have are no part of it.

    >>> ParameterCount(anatomy, family)(sizes)
    1392512
    """

    def __init__(self, anatomy: Anatomy, family: Family) -> None:
        self._beside: Counter[Dimensions] = Counter()
        self._inside: Counter[Dimensions] = Counter()
        for module in anatomy.modules:
            for tensor in module.tensors:
                name = f"{module.path}.{tensor.name}"
                layer, found = family.layer_of(name), family.dimensions(name, len(tensor.shape))
                if found is not None and not layer:
                    counted = self._beside if layer is None else self._inside
                    counted[found] += _rest(tensor, found)

    def __call__(self, sizes: Sizes) -> int:
        """The parameters at these sizes."""
        return _total(self._beside, sizes) + sizes.layers * _total(self._inside, sizes)


def _rest(tensor: Tensor, found: Dimensions) -> int:
    """The elements over those dimensions of a tensor that stay as they are."""
    return math.prod(size for size, dimension in zip(tensor.shape, found, strict=True) if not dimension)


def _total(counted: Counter[Dimensions], sizes: Sizes) -> int:
    return sum(
        rest * math.prod(length(dimension, sizes) for dimension in found if dimension)
        for found, rest in counted.items()
    )


def resized(anatomy: Anatomy, family: Family, after: Sizes) -> Anatomy:
    """The anatomy at other sizes; the first layers stand for those that stay."""
    before = sizes_of(anatomy.shape)
    modules = tuple(
        Module(module.path, _tensors(module, family, after), module.whole)
        for module in anatomy.modules
        if (family.layer_of(module.path) or 0) < after.layers
    )
    shape = anatomy.shape.model_copy(
        update={
            "layers": after.layers,
            "hidden": after.width,
            "intermediate": after.neurons,
            "heads": after.queries,
            "kv_heads": after.keys,
        }
    )
    caches = [
        LayerCache(cache.elements * after.keys // before.keys, cache.window) for cache in anatomy.caches
    ]
    made = anatomy.model_copy(
        update={"modules": modules, "shape": shape, "caches": tuple(caches[: after.layers])}
    )
    stored = anatomy.stored_bytes * made.parameters // anatomy.parameters
    return made.model_copy(update={"stored_bytes": stored})


def _tensors(module: Module, family: Family, after: Sizes) -> tuple[Tensor, ...]:
    """Those of a module that the model's class has, and buffers."""
    made = []
    for tensor in module.tensors:
        found = family.dimensions(f"{module.path}.{tensor.name}", len(tensor.shape))
        if tensor.group == "buffer":
            made.append(tensor)
        elif found is not None:
            shape = tuple(
                length(dimension, after) if dimension else size
                for size, dimension in zip(tensor.shape, found, strict=True)
            )
            # Conv1D, as GPT-2's layers have it, is stored [inputs, outputs].
            side = 0 if family.transposed and family.layer_of(module.path) is not None else -1
            made.append(tensor._replace(shape=shape, inputs=shape[side] if tensor.inputs else 0))
    return tuple(made)
