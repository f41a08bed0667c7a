"""The size of a model of which some layers are kept, before it is made."""

from __future__ import annotations

import re
from collections.abc import Sequence

from modelwright.api.anatomy import Anatomy, Module
from modelwright.api.model import ModelSize

LAYER = re.compile(r"^(\D*\.)(\d+)(\..*)?$")


def shallower(size: ModelSize, kept: Sequence[int]) -> ModelSize:
    """The size with those layers alone; as it was where the anatomy is not known."""
    if size.anatomy is None:
        return size
    places = {layer: place for place, layer in enumerate(kept)}
    modules = [module for found in size.anatomy.modules if (module := _renumbered(found, places)) is not None]
    caches = size.anatomy.caches
    anatomy: Anatomy = size.anatomy.model_copy(
        update={
            "modules": tuple(modules),
            "shape": size.anatomy.shape.model_copy(update={"layers": len(kept)}),
            "caches": tuple(caches[layer] for layer in kept) if caches else (),
        }
    )
    share = anatomy.parameters / size.anatomy.parameters
    return ModelSize(
        parameters=round(size.parameters * share),
        weight_bytes=round(size.weight_bytes * share),
        anatomy=anatomy.model_copy(update={"stored_bytes": round(size.anatomy.stored_bytes * share)}),
    )


def _renumbered(module: Module, places: dict[int, int]) -> Module | None:
    """A module at its layer's new place; None where the layer goes."""
    found = LAYER.match(module.path)
    if found is None:
        return module
    before, layer, after = found[1], int(found[2]), found[3] or ""
    return module._replace(path=f"{before}{places[layer]}{after}") if layer in places else None
