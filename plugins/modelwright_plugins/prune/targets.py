"""How large a transformer is to be: from amounts to remove, or from a share of its parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

from modelwright.errors import RecipeError
from modelwright_plugins.prune.slicing.anatomy import ParameterCount
from modelwright_plugins.prune.slicing.axes import Sizes

GQA = Literal["groups", "queries"]
Part = Literal["neurons", "heads", "layers", "width"]
PARTS: tuple[Part, ...] = ("neurons", "heads", "layers", "width")
# Budgets try the shares from 1/STEPS on.
STEPS = 1000


def amount(value: object) -> object:
    """A share or a number to remove, as a recipe writes it: 0.25, 25% or 2. Raises ValueError for others."""
    value = share(value)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    if value is None or (isinstance(value, float) and 0 < value < 1):
        return value
    raise ValueError("give a share above 0 and below 1, such as 0.25 or 25%, or a whole number to remove")


def share(value: object) -> object:
    """What may be written in percent as a fraction. Raises ValueError where that is no number."""
    if isinstance(value, str) and value.strip().endswith("%"):
        try:
            return float(value.strip().removesuffix("%")) / 100
        except ValueError as error:
            raise ValueError("give a share such as 30%") from error
    return value


class Rules(NamedTuple):
    """What sizes have to keep to.

    `own_head_dim` says whether heads may go without their share of the embedding width; where not, both go
    together. `divides` says whether the heads have to divide the width all the same. Shares of neurons and
    width end on a multiple of `round_to`; `gqa` says whether whole groups of query heads go, or as many of
    each group. `where` says where the recipe sets a parameter.
    """

    own_head_dim: bool
    divides: bool
    gqa: GQA
    round_to: int
    where: Callable[[str], str]

    def head_units(self, sizes: Sizes) -> tuple[int, int]:
        """Of how many units the heads are, and how many query heads a unit has."""
        if self.gqa == "groups":
            return sizes.keys, sizes.group
        return sizes.group, sizes.keys

    def without_heads(self, sizes: Sizes, units: int) -> Sizes:
        """The sizes with that many units of heads less, and the width that goes with them."""
        queries = sizes.queries - units * self.head_units(sizes)[1]
        keys = sizes.keys - (units if self.gqa == "groups" else 0)
        width = sizes.width if self.own_head_dim else queries * sizes.head_dim
        return sizes._replace(queries=queries, keys=keys, width=width)

    def head_choices(self, sizes: Sizes, *, any_width: bool) -> list[int]:
        """The units of heads that can go, none too; `any_width` where the width is yet to be found."""
        units = range(self.head_units(sizes)[0])
        if any_width or not self.divides:
            return [*units]
        return [unit for unit in units if not sizes.width % self.without_heads(sizes, unit).queries]

    def multiple(self, part: Part, sizes: Sizes) -> int:
        """What a size ends on a multiple of."""
        return math.lcm(self.round_to, sizes.queries) if part == "width" and self.divides else self.round_to

    def rounded(self, part: Part, share: float, sizes: Sizes) -> int:
        """What a share leaves of neurons or width: the nearest multiple, at least one, at most all."""
        of: int = getattr(sizes, part)
        multiple = self.multiple(part, sizes)
        return min(of, max(multiple, round(of * (1 - share) / multiple) * multiple))


def without(sizes: Sizes, amounts: Mapping[Part, int | float], rules: Rules) -> Sizes:
    """The sizes with an amount of some parts less. Raises RecipeError where that cannot be, or is nothing."""
    for part in PARTS:
        if part not in amounts:
            continue
        if part == "heads":
            sizes = _without_heads(sizes, amounts[part], rules, any_width="width" in amounts)
        elif part == "width" and not rules.own_head_dim:
            sizes = _without_tied_width(sizes, amounts[part], rules)
        else:
            sizes = _without_units(sizes, part, amounts[part], rules)
    return sizes


def _without_units(sizes: Sizes, part: Part, amount: int | float, rules: Rules) -> Sizes:
    of: int = getattr(sizes, part)
    if isinstance(amount, int):
        left = of - amount
    else:
        left = of - round(amount * of) if part == "layers" else rules.rounded(part, amount, sizes)
    multiple = rules.multiple(part, sizes)
    uneven = part == "width" and rules.divides and left % sizes.queries
    if not 1 <= left < of or uneven:
        heads = f"; what stays is a multiple of the {sizes.queries} heads" if part == "width" else ""
        raise RecipeError(
            f"{_named(part, amount)} cannot go of a model with {of:,}.",
            where=rules.where(part),
            accepted=f"1 to {of - 1:,}, or a share that comes to as many"
            + (f" (what stays ends on a multiple of {multiple:,})" if part != "layers" else "")
            + (heads if rules.divides else ""),
        )
    return sizes._replace(**{part: left})


def _named(part: Part, amount: int | float) -> str:
    if isinstance(amount, float):
        return f"A share of {amount:g} of the {part}"
    return f"{amount:,} {part.removesuffix('s') if amount == 1 else part}"


def _without_heads(sizes: Sizes, amount: int | float, rules: Rules, *, any_width: bool) -> Sizes:
    units, each = rules.head_units(sizes)
    choices = rules.head_choices(sizes, any_width=any_width)
    if isinstance(amount, float):
        chosen = nearest(amount * units, choices)
    else:
        chosen = amount // each if not amount % each else 0
    if not chosen or chosen not in choices:
        kind = "a group goes with its key-value head" if rules.gqa == "groups" else "each loses as many"
        divides = ", and those left divide the width" if rules.divides and not any_width else ""
        possible = ", ".join(str(unit * each) for unit in choices if unit) or "none"
        raise RecipeError(
            f"{_named('heads', amount)} cannot go: {sizes.queries} query heads are {sizes.keys} groups of "
            f"{sizes.group}; {kind}{divides}.",
            where=rules.where("heads"),
            accepted=f"to remove: {possible}; or a share that comes to as many",
            hint=None
            if sizes.group == 1
            else f"gqa={'queries' if rules.gqa == 'groups' else 'groups'} cuts the other way",
        )
    return rules.without_heads(sizes, chosen)


def _without_tied_width(sizes: Sizes, amount: int | float, rules: Rules) -> Sizes:
    heads = sizes.queries
    chosen = round(amount * heads) if isinstance(amount, float) else amount // sizes.head_dim
    if (isinstance(amount, int) and amount % sizes.head_dim) or not 1 <= chosen < heads:
        raise RecipeError(
            f"{_named('width', amount)} cannot go: the width {sizes.width} is {heads} heads of "
            f"{sizes.head_dim}, and transformers gives this family no head size of its own.",
            where=rules.where("width"),
            accepted=f"multiples of {sizes.head_dim} below {sizes.width}, or a share that comes to one",
        )
    return rules.without_heads(sizes, chosen)


def by_share(sizes: Sizes, share: float, parts: Sequence[Part], rules: Rules) -> Sizes:
    """The sizes with the same share of each part less, as near as each comes; something is left of all.

    A layer goes only when the share comes to a whole one, as it costs most.
    """
    if "layers" in parts:
        sizes = sizes._replace(layers=max(1, sizes.layers - int(share * sizes.layers)))
    if "neurons" in parts:
        sizes = sizes._replace(neurons=rules.rounded("neurons", share, sizes))
    if "heads" in parts or ("width" in parts and not rules.own_head_dim):
        choices = rules.head_choices(sizes, any_width="width" in parts)
        sizes = rules.without_heads(sizes, nearest(share * rules.head_units(sizes)[0], choices))
    if "width" in parts and rules.own_head_dim:
        sizes = sizes._replace(width=rules.rounded("width", share, sizes))
    return sizes


def nearest(wanted: float, choices: Sequence[int]) -> int:
    """The choice nearest to a number; of two the lower."""
    return min(choices, key=lambda choice: (abs(choice - wanted), choice))


def within_parameters(
    sizes: Sizes, less: float, parts: Sequence[Part], rules: Rules, count: ParameterCount
) -> Sizes:
    """The sizes at the least share of each part that leaves at most (1 - `less`) of the parameters.

    Where a step of heads or layers overshoots, neurons are given back. Raises RecipeError where the parts do
    not hold as much.
    """
    limit = (1 - less) * count(sizes)
    for step in range(1, STEPS):
        found = by_share(sizes, step / STEPS, parts, rules)
        if count(found) <= limit:
            return _with_more_neurons(found, sizes, limit, parts, rules, count)
    least = count(by_share(sizes, (STEPS - 1) / STEPS, parts, rules))
    raise RecipeError(
        f"{less:.0%} of the parameters cannot go from {', '.join(parts)}: these hold "
        f"{1 - least / count(sizes):.0%} that can.",
        where=rules.where("parameters"),
        accepted=f"less than that, or more parts in cut: {', '.join(PARTS)}",
    )


def _with_more_neurons(
    found: Sizes, before: Sizes, limit: float, parts: Sequence[Part], rules: Rules, count: ParameterCount
) -> Sizes:
    while "neurons" in parts and found.neurons < before.neurons:
        more = found._replace(neurons=min(before.neurons, found.neurons + rules.round_to))
        if count(more) > limit:
            break
        found = more
    return found
