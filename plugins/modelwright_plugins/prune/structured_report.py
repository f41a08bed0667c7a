"""What a report shows of heads, neurons, channels and layers that went."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import JsonValue

from modelwright.api.context import StageContext
from modelwright_plugins.prune.slicing.axes import Sizes

if TYPE_CHECKING:
    import torch

    from modelwright_plugins.prune.importance.scores import Scores
    from modelwright_plugins.prune.slicing.cut import Kept

# Points of a curve over units; lists of heads longer than this are not written out.
POINTS = 101
WRITTEN = 32


def record_layers(ctx: StageContext, influence: Sequence[float], kept: Sequence[int]) -> None:
    """Block influence of each layer, and which stay."""
    ranks = sorted(range(len(influence)), key=lambda number: -influence[number])
    rows: list[JsonValue] = [
        {
            "layer": number,
            "block influence": round(value, 6),
            "rank": ranks.index(number) + 1,
            "kept": "yes" if number in kept else "",
        }
        for number, value in enumerate(influence)
    ]
    ctx.record("block_influence", rows)
    ctx.record("block_influence_by_layer", [float(value) for value in influence])


def record_units(ctx: StageContext, scores: Scores, before: Sizes, after: Sizes, kept: Kept) -> None:
    """What each layer lost and how much of the importance stays, and importance by rank."""
    rows: list[JsonValue] = []
    if after.keys < before.keys or after.queries < before.queries:
        importance = scores.queries + scores.keys.repeat_interleave(before.group, 1) / before.group
        rows += _rows("heads", importance, kept.queries)
        ctx.record("heads_by_rank", by_rank(importance))
    if after.neurons < before.neurons:
        rows += _rows("neurons", scores.neurons, kept.neurons)
        ctx.record("neurons_by_rank", by_rank(scores.neurons))
    if after.width < before.width:
        rows.append(_row("width", None, scores.width, kept.width))
        ctx.record("width_by_rank", by_rank(scores.width[None]))
    ctx.record("importance", rows)


def by_rank(scores: torch.Tensor) -> list[JsonValue]:
    """Importance from the highest to the lowest, as shares of the highest; [layers, units] averaged."""
    ranked = scores.sort(dim=1, descending=True).values
    ranked = (ranked / ranked[:, :1].clamp_min(1e-30)).mean(0)
    points = min(POINTS, len(ranked))
    places = [round(number * (len(ranked) - 1) / max(1, points - 1)) for number in range(points)]
    return [round(float(ranked[place]), 6) for place in places]


def record_sizes(
    ctx: StageContext, before: Sizes, after: Sizes, parameters_before: int, parameters: int
) -> None:
    """Sizes and parameters before and after."""
    rows: list[JsonValue] = [
        {"size": name, "before": old, "after": new}
        for name, old, new in (
            ("layers", before.layers, after.layers),
            ("width", before.width, after.width),
            ("neurons of a layer", before.neurons, after.neurons),
            ("heads of a layer", before.queries, after.queries),
            ("key-value heads of a layer", before.keys, after.keys),
            ("head size", before.head_dim, after.head_dim),
        )
    ]
    ctx.record("sizes", rows)
    ctx.record(
        "parameters",
        {
            "before": parameters_before,
            "after": parameters,
            "removed": round(1 - parameters / parameters_before, 4),
        },
    )


def _rows(of: str, scores: torch.Tensor, kept: Sequence[Sequence[int]]) -> list[JsonValue]:
    return [_row(of, layer, scores[layer], stay) for layer, stay in enumerate(kept)]


def _row(of: str, layer: int | None, scores: torch.Tensor, kept: Sequence[int]) -> JsonValue:
    stays = float(scores[list(kept)].sum() / scores.sum().clamp_min(1e-30))
    row: dict[str, JsonValue] = {
        "of": of,
        "layer": "all" if layer is None else layer,
        "before": len(scores),
        "after": len(kept),
        "importance kept": round(stays, 4),
    }
    if len(scores) <= WRITTEN:
        row["ranking"] = " ".join(map(str, scores.argsort(descending=True, stable=True).tolist()))
        row["removed"] = " ".join(str(unit) for unit in range(len(scores)) if unit not in kept)
    return row
