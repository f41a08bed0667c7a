"""The weights that a checkpoint's folder holds."""

from __future__ import annotations

from typing import Any

from modelwright.api.model import Model


def weights(model: Model) -> dict[str, Any]:
    """Every tensor by its name."""
    from safetensors.torch import load_file

    return load_file(model.path / "model.safetensors")


def furthest(one: Model, other: Model) -> float:
    """The largest difference of a weight."""
    ours, theirs = weights(one), weights(other)
    return max(float((ours[name] - theirs[name]).abs().max()) for name in ours)
