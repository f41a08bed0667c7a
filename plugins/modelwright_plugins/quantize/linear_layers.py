"""Which linear layers of a checkpoint a library is to quantize, and why others stay in floating point."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelwright.api.context import StageContext
from modelwright.api.model import Model
from modelwright.errors import StageError

if TYPE_CHECKING:
    from modelwright_plugins.blockwise.matrices import Matrix

Unfit = Callable[["Matrix"], str | None]


@dataclass(frozen=True)
class LinearLayers:
    """Dotted names of the layers to quantize, and those that are kept with the reason of each."""

    taken: tuple[str, ...]
    kept: dict[str, str]

    @property
    def skipped(self) -> list[str]:
        """The kept ones as transformers' configurations list them."""
        return sorted(self.kept)


def linear_layers(model: Model, skip: Sequence[str], unfit: Unfit, ctx: StageContext) -> LinearLayers:
    """Sort a checkpoint's linear layers without reading a weight.

    Kept are the layers past the base model (the output head), those tied to an embedding, those that a
    pattern of `skip` (fnmatch) names, and those of which `unfit` says why the library cannot take them.
    Raises RecipeError for a pattern that matches nothing, StageError when no layer is left.
    """
    from modelwright_plugins.blockwise.matrices import matrices_of
    from modelwright_plugins.blockwise.name_patterns import chosen
    from modelwright_plugins.format.torch import load_skeleton

    network = load_skeleton(model)
    inside = "" if network.base_model is network else f"{network.base_model_prefix}."
    tied = {name.removesuffix(".weight") for pair in network.all_tied_weights_keys.items() for name in pair}
    matrices = matrices_of(network)
    where = ctx.where("skip")
    wanted = {*chosen([matrix.name for matrix in matrices], (), skip, (where, where))}
    kept: dict[str, str] = {}
    for matrix in matrices:
        reason = (
            "tied to an embedding" if matrix.name in tied
            else "output head" if not matrix.name.startswith(inside)
            else "skip" if matrix.name not in wanted
            else unfit(matrix)
        )  # fmt: skip
        if reason:
            kept[matrix.name] = reason
    taken = tuple(matrix.name for matrix in matrices if matrix.name not in kept)
    if not taken:
        reasons = [f"'{name}': {reason}" for name, reason in kept.items()]
        raise StageError(
            "No linear layer is left to quantize.",
            where=where if skip else "model.path",
            accepted="a model with at least one linear layer in its blocks that the library can take",
            hint="; ".join(reasons[:3]) + (f"; and {len(reasons) - 3} more" if len(reasons) > 3 else ""),
        )
    for name, reason in kept.items():
        ctx.log.info("'%s' stays in floating point: %s.", name, reason)
    return LinearLayers(taken, kept)
