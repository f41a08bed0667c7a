"""The built-in stages that bring a checkpoint to what a stage takes."""

from __future__ import annotations

from collections import deque
from typing import Any

from pydantic import ValidationError

from modelwright.api.stage import Stage
from modelwright.errors import RecipeError
from modelwright.registry import Registry

CHECKPOINT = "torch"
BUILT_IN = "modelwright"


def find_bridge(registry: Registry, stage: type[Stage]) -> dict[str, dict[str, Any]]:
    """The shortest chain of built-in stages, exact ones first, from a checkpoint to a stage's input.

    >>> find_bridge(registry, registry.stages["quantize.onnx_dynamic"])
    {'export-onnx': {'use': 'export.onnx'}}

    Only stages that run without parameters are used. Raises RecipeError when there is no such chain.
    """
    usable = [found for name in registry.stages if _usable(registry, name, found := registry.stages[name])]
    usable.sort(key=lambda found: (found.fidelity != "exact", found.name))
    waiting: deque[tuple[str, frozenset[str], tuple[str, ...]]] = deque([(CHECKPOINT, frozenset(), ())])
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        format_, tags, chain = waiting.popleft()
        if _takes(stage, format_, tags):
            return {name.replace(".", "-"): {"use": name} for name in chain}
        if (format_, tags) in seen:
            continue
        seen.add((format_, tags))
        for step in usable:
            if step is not stage and _takes(step, format_, tags):
                waiting.append((step.gives, frozenset(step().tags_after(tags)), (*chain, step.name)))
    wanted = ", ".join((stage.takes, *stage.needs))
    raise RecipeError(
        f"No chain of built-in stages makes what '{stage.name}' takes: {wanted}.",
        where=f"{stage.__module__}.{stage.__qualname__}",
        hint="say the steps that make it: `before = {'mine': {'use': …}}` in the conformance class",
    )


def _usable(registry: Registry, name: str, stage: type[Stage]) -> bool:
    """A built-in stage whose packages are here and that runs without parameters."""
    if registry.stages.distribution(name).name != BUILT_IN or stage.missing():
        return False
    try:
        stage()
    except ValidationError:
        return False
    return True


def _takes(stage: type[Stage], format_: str, tags: frozenset[str]) -> bool:
    return stage.takes == format_ and tags.issuperset(stage.needs) and tags.isdisjoint(stage.refuses)
