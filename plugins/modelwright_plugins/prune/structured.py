"""Pruning of whole heads, neurons, channels and layers, which leaves a smaller ordinary model."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, field_validator, model_validator

from modelwright.api.anatomy import Anatomy
from modelwright.api.context import StageContext
from modelwright.api.model import Model, ModelSize, ModelSpec
from modelwright.api.stage import Footprint
from modelwright.errors import RecipeError
from modelwright_plugins.anatomy.read import read_anatomy
from modelwright_plugins.prune.importance.steps import PAIR_TOKENS, PAIRS, Calibration
from modelwright_plugins.prune.latency_budget import At, require_room, sizes_within_latency
from modelwright_plugins.prune.slicing.anatomy import ParameterCount, resized
from modelwright_plugins.prune.slicing.axes import Sizes, sizes_of
from modelwright_plugins.prune.slicing.families import FAMILIES, Family, family_of
from modelwright_plugins.prune.structured_footprint import structured_footprint
from modelwright_plugins.prune.targets import (
    GQA,
    PARTS,
    Part,
    Rules,
    amount,
    share,
    within_parameters,
    without,
)
from modelwright_plugins.text.calibration_fields import CalibrationFields

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from modelwright_plugins.prune.importance.scores import Scores
    from modelwright_plugins.prune.importance.steps import Step

WHOLE = "zeros at single places would be cut through: the pattern would break and the count of zeros be wrong"


class PruneStructured(
    CalibrationFields,
    name="prune.structured",
    takes="torch",
    gives="torch",
    fidelity="approximate",
    refuses={"sparse": WHOLE},
    requires=("torch", "transformers", "accelerate"),
):
    """Remove the least important heads, neurons, channels or layers: a smaller checkpoint of the same class.

    ::

        prune: {use: prune.structured, data: docs, heads: 0.25, neurons: 0.3}
        prune: {use: prune.structured, data: docs, layers: 2}
        prune: {use: prune.structured, data: docs, parameters: 30%, importance: taylor}
        prune: {use: prune.structured, data: docs, latency: 1.5, at: {batch: 1, length: 128}}

    Each of `neurons`, `heads`, `width` and `layers` is a share or a number to remove. In their place one
    budget: `parameters` is the share that has to go; `latency` how many times faster the result has to be
    where it is measured (one forward pass; for a model that generates, its new tokens). A budget takes the
    same share of every part in `cut` (whole layers, and heads to the nearest), the least that reaches it,
    and gives neurons back where a step of heads or layers overshoots.

    Every layer keeps the same sizes, since the classes of these families read one of each for all: a layer
    loses its own least important units, and as many as the others. Layers go first, by block influence
    (1 - cosine of the hidden states before and after; Men et al. 2024, arXiv:2403.03853), the rest by
    `importance`: `magnitude` is the L2 norm of a unit's weights; `activation` the mean square of what it
    gives on calibration data (Muralidharan et al. 2024, arXiv:2407.14679); `taylor` the change of the task's
    loss to first order when it goes (Molchanov et al. 2019, arXiv:1906.10771).

    The head size stays. Where a family has none of its own (BERT and relatives, GPT-2, GPT-NeoX), heads go
    only with their share of the width. Norms are scaled for the energy that went with channels, where data
    tell it. Families: bert, roberta, xlm-roberta, distilbert, mpnet, llama, mistral, qwen2, qwen3, gemma,
    phi3, gpt2, gpt_neox. Raises RecipeError for others, and for what cannot go.
    """

    neurons: int | float | None = Field(
        None, description="Share or number of neurons to remove from each MLP."
    )
    heads: int | float | None = Field(None, description="Share or number of heads to remove from each layer.")
    width: int | float | None = Field(None, description="Share or number of embedding channels to remove.")
    layers: int | float | None = Field(None, description="Share or number of layers to remove.")
    parameters: float | None = Field(
        None, gt=0, lt=1, description="Budget: the share of all parameters to remove."
    )
    latency: float | None = Field(None, gt=1, description="Budget: how many times faster to be, as measured.")
    at: At = Field(At(), description="Batch and length (of the prompt) that a latency is measured at.")
    rounds: int = Field(7, ge=3, description="Turns each model takes where a latency is measured.")
    cut: tuple[Part, ...] = Field(
        (),
        description="Parts that a budget is taken from; empty: neurons, and heads where they can go alone.",
    )
    importance: Literal["magnitude", "activation", "taylor"] = Field(
        "activation", description="What heads, neurons and channels are ranked by."
    )
    gqa: GQA = Field(
        "groups",
        description="Of grouped-query heads whole groups go with their key-value head, or as many query "
        "heads of each group.",
    )
    round_to: int = Field(8, ge=1, description="Shares of neurons and width end on a multiple of this.")
    data: str | None = Field(None, description="The data set to calibrate on.")

    _amounts = field_validator(*PARTS, mode="before")(amount)
    _parameters = field_validator("parameters", mode="before")(share)

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        given = [part for part in PARTS if getattr(self, part) is not None]
        budgets = [name for name in ("parameters", "latency") if getattr(self, name) is not None]
        if not given and not budgets:
            raise ValueError(f"say what to remove: {', '.join(PARTS)}, or a budget: parameters or latency")
        if len(budgets) > 1 or (given and budgets):
            raise ValueError(
                f"{' and '.join([*budgets, *given])}: give amounts, or one budget in their place"
            )
        if not budgets and self.cut:
            raise ValueError("cut says what a budget is taken from: give parameters or latency, or no cut")
        if self.latency is None and (idle := self.changed("at", "rounds")):
            raise ValueError(f"{idle[0]} says how a latency is measured: give latency, or no {idle[0]}")
        if self.data is None and (self.layers is not None or "layers" in self.cut):
            raise ValueError(
                "layers are ranked by block influence, which needs data: name a data set of the recipe"
            )
        if self.data is None and self.importance != "magnitude" and {*given, *budgets} != {"layers"}:
            raise ValueError(
                f"importance {self.importance} needs data: name a data set of the recipe, or use magnitude"
            )
        return self

    def depends_on_machine(self) -> bool:
        """A budget of latency is measured."""
        return self.latency is not None

    def check(self, spec: ModelSpec) -> None:
        """The family is one that can be cut, and so are its heads alone where they are to go."""
        family = family_of(spec.architecture, "model.path")
        if not family.own_head_dim and (self.heads is not None or "heads" in self.cut):
            raise RecipeError(
                f"{spec.architecture} cannot lose heads alone: transformers takes its head size to be the "
                "width divided by the heads, so that those left would be of another size.",
                where="parameter heads" if self.heads is not None else "parameter cut",
                accepted="neurons, layers, or width, with which heads go",
            )
        if self.latency is not None:
            require_room(spec, self.at, self.rounds, "parameter at")

    def sizes(self, anatomy: Anatomy, family: Family, where: Callable[[str], str]) -> Sizes:
        """The sizes of the result, but for a budget of latency. Raises RecipeError where they cannot be."""
        sizes = sizes_of(anatomy.shape)
        rules = self._rules(family, sizes, where)
        if self.parameters is not None:
            count = ParameterCount(anatomy, family)
            return within_parameters(sizes, self.parameters, self._parts(family), rules, count)
        amounts = {part: given for part in PARTS if (given := getattr(self, part)) is not None}
        return without(sizes, amounts, rules)

    def footprint(self, size: ModelSize) -> Footprint:
        """The checkpoint, what is left of it, and the activations of one calibration batch.

        A budget of latency is known only when it is measured: the result is taken to be as large as before.
        """
        result = size
        if size.anatomy is not None and size.anatomy.model_type in FAMILIES and self.latency is None:
            family = FAMILIES[size.anatomy.model_type]
            after = self.sizes(size.anatomy, family, "parameter {}".format)
            anatomy = resized(size.anatomy, family, after)
            item = size.weight_bytes / max(1, size.parameters)
            result = ModelSize(
                parameters=anatomy.parameters,
                weight_bytes=round(item * anatomy.parameters),
                anatomy=anatomy,
            )
        gradients = self.importance == "taylor"
        found = structured_footprint(size, result, self._batch_tokens(size), gradients=gradients)
        # Each size that is measured lies on the disk meanwhile.
        tried = size.weight_bytes if self.latency is not None else 0
        return found.model_copy(
            update={"disk_bytes": found.disk_bytes + tried, "sizes_known": self.latency is None}
        )

    def run(self, model: Model, ctx: StageContext) -> None:
        """Measure what matters, cut, save."""
        from modelwright_plugins.blockwise.depth import keep_layers
        from modelwright_plugins.format.torch import load_checkpoint
        from modelwright_plugins.format.torch_device import require_device
        from modelwright_plugins.format.torch_tokenizer import copy_with_fast_tokenizer
        from modelwright_plugins.prune.importance.block_influence import block_influence, influential
        from modelwright_plugins.prune.importance.scores import kept_units
        from modelwright_plugins.prune.slicing.cut import cut, require_known, require_layers_alike
        from modelwright_plugins.prune.slicing.save import save_cut
        from modelwright_plugins.prune.structured_report import record_layers, record_sizes, record_units

        require_device(ctx.target)
        anatomy = read_anatomy(model.path)
        assert anatomy is not None, "the format torch has a config.json"
        family = family_of(anatomy.model_type, "model.path")
        before = sizes_of(anatomy.shape)
        if self.latency is None:
            after = self.sizes(anatomy, family, ctx.where)
        else:
            rules, parts = self._rules(family, before, ctx.where), self._parts(family)
            after = sizes_within_latency(
                model, ctx, family, before, parts, rules, self.latency, self.at, self.rounds
            )
        copy_with_fast_tokenizer(model, ctx.out)
        network = load_checkpoint(model).to(ctx.target.device)
        require_known(network, family, before)
        parameters, start = network.num_parameters(), before
        if after.layers < before.layers:
            require_layers_alike(network, ctx.where("cut" if self.layers is None else "layers"))
            ctx.progress(0, 3, "block influence")
            influence = block_influence(network, self._steps(network, model, ctx, loss=False))
            layers = influential(influence, after.layers)
            keep_layers(network, layers)
            record_layers(ctx, influence, layers)
            before = before._replace(layers=after.layers)
        if after != before:
            ctx.progress(1, 3, f"importance by {self.importance}")
            scores = self._scores(network, family, before, model, ctx)
            kept = kept_units(scores, before, after)
            cut(network, family, before, after, kept, scores.energy)
            record_units(ctx, scores, before, after, kept)
        ctx.progress(2, 3, "saving")
        save_cut(network, model, ctx, ctx.out)
        record_sizes(ctx, start, after, parameters, network.num_parameters())

    def _batch_tokens(self, size: ModelSize) -> int:
        """The most tokens of a calibration batch."""
        shape = size.anatomy.shape if size.anatomy is not None else None
        longest = (shape.context_length if shape is not None else None) or 512
        if shape is not None and shape.generates:
            return min(self.length, longest)
        return PAIRS * min(PAIR_TOKENS, longest) if self.importance == "taylor" else longest

    def _rules(self, family: Family, sizes: Sizes, where: Callable[[str], str]) -> Rules:
        if self.gqa == "queries" and sizes.group == 1:
            raise RecipeError(
                f"Each of the {sizes.queries} query heads has a key-value head of its own: no group can lose "
                "one and stay.",
                where=where("gqa"),
                accepted="gqa=groups, which takes both",
            )
        return Rules(family.own_head_dim, family.divides, self.gqa, self.round_to, where)

    def _parts(self, family: Family) -> tuple[Part, ...]:
        return self.cut or (("neurons", "heads") if family.own_head_dim else ("neurons",))

    def _steps(self, network: PreTrainedModel, model: Model, ctx: StageContext, *, loss: bool) -> list[Step]:
        from modelwright_plugins.prune.importance.steps import forward_steps, loss_steps

        assert self.data is not None, "the schema asks for it"
        chosen = loss_steps if loss else forward_steps
        return chosen(network, model, ctx, Calibration(self.data, self.split, self.samples, self.length))

    def _scores(
        self, network: PreTrainedModel, family: Family, sizes: Sizes, model: Model, ctx: StageContext
    ) -> Scores:
        from modelwright_plugins.prune.importance.calibrated import activations, taylor
        from modelwright_plugins.prune.importance.magnitude import magnitudes

        if self.importance == "magnitude":
            scores = magnitudes(network, family, sizes)
        elif self.importance == "activation":
            scores = activations(network, family, sizes, self._steps(network, model, ctx, loss=False))
        else:
            scores = taylor(network, family, sizes, self._steps(network, model, ctx, loss=True))
        if family.same_heads:
            scores.heads_as_one()
        return scores
