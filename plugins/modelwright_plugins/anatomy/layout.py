"""What a family's reader gives: the modules that a config.json implies, with no look at any weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from modelwright.api.anatomy import LayerCache, Module, Shape, Tensor
from modelwright_plugins.anatomy.config import Config

HEAD = "lm_head.weight"


class Layout(NamedTuple):
    """Modules and shape of the family's language model.

    `base` is the module that holds everything but the head: a checkpoint of the bare model has its tensors
    without that prefix. `tied` pairs tensors that are not there with those that stand for them.
    `head_inputs` is the width the head reads where it is not the hidden size.
    """

    modules: tuple[Module, ...]
    shape: Shape
    base: str
    tied: tuple[tuple[str, str], ...] = ()
    caches: tuple[LayerCache, ...] = ()
    head_inputs: int | None = None


Reader = Callable[[Config], Layout]


def adapted(layout: Layout, config: Config) -> Layout:
    """The layout for the class that `architectures` names.

    A bare model has no head and no prefix, a classifier a `score` in the head's place, a language model
    (and a config that names no class) what the reader gave.
    """
    architecture = config.architecture()
    classifier = architecture.endswith("ForSequenceClassification")
    bare = architecture.endswith("Model") and not architecture.endswith("HeadModel")
    if not (classifier or bare) or not layout.shape.generates:
        return layout
    prefix = f"{layout.base}."
    below = [
        module for module in layout.modules if module.path == layout.base or module.path.startswith(prefix)
    ]
    if bare:
        below = [module._replace(path=module.path.removeprefix(prefix)) for module in below]
        below = [module._replace(path="") if module.path == layout.base else module for module in below]
    else:
        width = layout.head_inputs or layout.shape.hidden or 0
        score = Tensor("weight", (labels(config), width), "head", width)
        below.append(Module("score", (score,)))
    return layout._replace(modules=tuple(below), tied=())


def labels(config: Config) -> int:
    """How many classes a classifier tells apart."""
    named = config.values.get("id2label")
    return len(named) if isinstance(named, dict) and named else config.count("num_labels", default=2)
