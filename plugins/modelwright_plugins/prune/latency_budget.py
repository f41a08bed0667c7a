"""How much has to go until a model is as fast as it is to be: by measuring smaller ones."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from modelwright.api.context import StageContext
from modelwright.api.metric import Interval
from modelwright.api.model import Model, ModelSpec
from modelwright.errors import RecipeError
from modelwright_plugins.metric.cells import Count
from modelwright_plugins.metric.decode import Decode
from modelwright_plugins.metric.latency import Latency
from modelwright_plugins.prune.slicing.axes import Sizes
from modelwright_plugins.prune.slicing.families import Family
from modelwright_plugins.prune.targets import Part, Rules, by_share

# Shares that are tried are multiples of 1/STEPS, found by halving.
STEPS = 20
NEW_TOKENS = 32


class At(BaseModel):
    """Where a latency is measured."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    batch: Count = Field(1, description="Texts per batch.")
    length: Count = Field(128, description="Tokens of a text, or of the prompt of a model that generates.")


def require_room(spec: ModelSpec, at: At, rounds: int, where: str) -> None:
    """Raise RecipeError where the model does not take the length, with the new tokens it generates."""
    metric, _ = _speed(spec, at, rounds)
    if not metric.grid(spec)["length"]:
        added = " and the tokens generated after it" if spec.task == "generate" else ""
        raise RecipeError(
            f"A length of {at.length:,}{added} is beyond the model's {spec.max_length:,} tokens.",
            where=where,
            accepted="a length within the model's context",
        )


def sizes_within_latency(
    model: Model,
    ctx: StageContext,
    family: Family,
    sizes: Sizes,
    parts: Sequence[Part],
    rules: Rules,
    faster: float,
    at: At,
    rounds: int,
) -> Sizes:
    """The sizes at the least share of each part that is `faster` times as fast as the model.

    Judged at the lower end of the 95 % interval, as gates are. Which units stay does not change the speed:
    the first stand for them. Raises RecipeError where the largest share does not reach it.
    """
    metric, figure = _speed(model.spec, at, rounds)
    rows: list[JsonValue] = []
    lows: list[float] = []

    def reached(step: int) -> bool:
        share = step / STEPS
        ctx.progress(len(rows), 5, f"measuring with {share:.0%} less")
        small = _first_units(model, ctx, family, sizes, by_share(sizes, share, parts, rules), f"share-{step}")
        values = ctx.measure({"cut": small}, [metric], baseline=model)["cut"]
        shutil.rmtree(small.path)
        ratio = next(value.ratio for value in values if value.name == figure)
        assert isinstance(ratio, Interval)
        rows.append({"share": share, "times faster": round(ratio.value, 3), "95 % low": round(ratio.low, 3)})
        lows.append(ratio.low)
        ctx.record("latency", rows)
        return ratio.low >= faster

    step = least_step(STEPS - 1, reached)
    if step is None:
        raise RecipeError(
            f"With {1 - 1 / STEPS:.0%} less of {', '.join(parts)} it is {lows[-1]:.2f} times as fast, at the "
            f"low end of the interval, and not {faster:g} times.",
            where=rules.where("latency"),
            accepted="less, or more parts in cut: layers bring most",
        )
    return by_share(sizes, step / STEPS, parts, rules)


def least_step(last: int, reached: Callable[[int], bool]) -> int | None:
    """The least step from 1 to `last` that reaches something, if all after it do; found by halving.

    None where the last does not.
    """
    low, high = 0, last
    if not reached(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high


def _speed(spec: ModelSpec, at: At, rounds: int) -> tuple[Latency | Decode, str]:
    if spec.task == "generate":
        decode = Decode(batch=(at.batch,), length=(at.length,), new_tokens=NEW_TOKENS, rounds=rounds)
        return decode, "decode.tokens_per_second"
    return Latency(batch=(at.batch,), length=(at.length,), rounds=rounds), "latency.p50"


def _first_units(
    model: Model, ctx: StageContext, family: Family, before: Sizes, after: Sizes, name: str
) -> Model:
    """A model of some sizes out of the first units of each kind."""
    from modelwright_plugins.blockwise.depth import keep_layers
    from modelwright_plugins.format.torch import load_checkpoint
    from modelwright_plugins.format.torch_tokenizer import copy_with_fast_tokenizer
    from modelwright_plugins.prune.slicing.cut import Kept, cut, require_known
    from modelwright_plugins.prune.slicing.save import save_cut

    folder = ctx.scratch(name)
    copy_with_fast_tokenizer(model, folder)
    network = load_checkpoint(model)
    require_known(network, family, before)
    keep_layers(network, range(after.layers))
    queries = [group * before.group + head for group in range(after.keys) for head in range(after.group)]
    kept = Kept(
        range(after.width),
        [range(after.neurons)] * after.layers,
        [queries] * after.layers,
        [range(after.keys)] * after.layers,
    )
    cut(network, family, before, after, kept, {})
    save_cut(network, model, ctx, folder)
    return ctx.model(folder)
