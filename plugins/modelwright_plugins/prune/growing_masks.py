"""Masks that grow while a model is trained, and hold through the optimizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from pydantic import JsonValue

from modelwright_plugins.blockwise.token_mask import TokenMask
from modelwright_plugins.prune.lowest import lowest_of_all, lowest_of_rows
from modelwright_plugins.prune.pattern import lowest_of_groups, numbers
from modelwright_plugins.prune.sparsity_schedule import SparsitySchedule
from modelwright_plugins.prune.unstructured import sparsity_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from modelwright_plugins.blockwise.matrices import Matrix
    from modelwright_plugins.training.context import TrainingContext


class GrowingMasks:
    """Zeroes the weights of least score at the steps that a schedule names; what is zero stays so.

    >>> hook = GrowingMasks(network, matrices, schedule, scope="layer", activations=False, pattern=None)

    Scores are magnitudes, of each layer by itself or (`scope` global) of all together. With `activations`
    they are magnitudes times the norms of the inputs since the last change (Wanda), row by row. With a
    `pattern` n:m, 1:m, 2:m ... go from each group until n are left.
    """

    def __init__(
        self,
        network: PreTrainedModel,
        matrices: Sequence[Matrix],
        schedule: SparsitySchedule,
        *,
        scope: str,
        activations: bool,
        pattern: str | None,
    ) -> None:
        self.sparsity: list[float] = []
        self._matrices = matrices
        self._schedule = schedule
        self._scope = scope
        self._pattern = pattern
        self._masks = {matrix.name: matrix.weight == 0 for matrix in matrices}
        self._energy: dict[str, torch.Tensor] = {}
        self._watching: list[Any] = []
        if activations:
            tokens = TokenMask(network)
            self._watching.append(tokens)
            widths = [matrix.weight.shape[1] for matrix in matrices]
            # What a step shows of all inputs: one tensor, so that processes add it up at once.
            self._seen = torch.zeros(sum(widths), device=network.device)
            for matrix, seen in zip(matrices, self._seen.split(widths), strict=True):
                self._energy[matrix.name] = torch.zeros_like(seen)
                self._watching.append(matrix.module.register_forward_pre_hook(_watch(seen, tokens)))

    def after_step(self, step: int) -> None:
        """Grow the masks where that is due, and zero what the optimizer moved."""
        self._gather()
        share = self._schedule.due(step)
        if share is not None:
            self._grow(share)
        self._zero()
        if step >= self._schedule.end:
            self._watch_no_more()
        if share is not None:
            masked = sum(int(mask.sum()) for mask in self._masks.values())
            self.sparsity.append(masked / sum(mask.numel() for mask in self._masks.values()))

    def state_dict(self) -> Mapping[str, torch.Tensor]:
        """Masks, energies, and the sparsity so far."""
        masks = {f"mask.{name}": mask for name, mask in self._masks.items()}
        energy = {f"energy.{name}": found for name, found in self._energy.items()}
        return {**masks, **energy, "sparsity": torch.tensor(self.sparsity, dtype=torch.float64)}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go on from them."""
        for name, mask in self._masks.items():
            mask.copy_(state[f"mask.{name}"])
        for name, energy in self._energy.items():
            energy.copy_(state[f"energy.{name}"])
        self.sparsity = state["sparsity"].tolist()
        self._zero()  # frozen weights are in no checkpoint

    def record(self, ctx: TrainingContext) -> None:
        """The sparsity after each change, and that of each layer at the end."""
        ctx.record("sparsity_after_change", [*self.sparsity])
        rows: list[JsonValue] = [
            {"layer": matrix.name, "weights": matrix.weight.numel(), "sparsity": sparsity_of(matrix)}
            for matrix in self._matrices
        ]
        ctx.record("layers", rows)

    def _grow(self, share: float) -> None:
        if self._scope == "global":
            found = lowest_of_all(lambda: map(self._scores, self._matrices), share)
            self._masks |= {matrix.name: gone for matrix, gone in zip(self._matrices, found, strict=True)}
            return
        for matrix in self._matrices:
            self._masks[matrix.name] = self._lowest(self._scores(matrix), share)
        for energy in self._energy.values():
            energy.zero_()

    def _zero(self) -> None:
        for matrix in self._matrices:
            matrix.weight.masked_fill_(self._masks[matrix.name], 0.0)

    def _gather(self) -> None:
        """Add what this step showed of the inputs in all processes: every one of them has all of it then."""
        if not self._watching:
            return
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(self._seen)
        parts = self._seen.split([len(energy) for energy in self._energy.values()])
        for energy, part in zip(self._energy.values(), parts, strict=True):
            energy += part
        self._seen.zero_()

    def _watch_no_more(self) -> None:
        for handle in self._watching:
            handle.remove()
        self._watching.clear()

    def _lowest(self, scores: torch.Tensor, share: float) -> torch.Tensor:
        if self._pattern is not None:
            of = numbers(self._pattern)[1]
            gone = round(share * of)
            return lowest_of_groups(scores, f"{of - gone}:{of}") if gone else scores < 0
        if self._energy:
            return lowest_of_rows(scores, share)
        return next(lowest_of_all(lambda: (scores,), share))

    def _scores(self, matrix: Matrix) -> torch.Tensor:
        """What is masked already has the lowest, 0."""
        scores = matrix.weight.abs()
        if self._energy:
            scores = scores * self._energy[matrix.name].sqrt()
        return scores.masked_fill(self._masks[matrix.name], 0.0)


def _watch(seen: torch.Tensor, tokens: TokenMask) -> Any:
    """A hook that adds the squares of what a layer reads while it is trained."""

    def hook(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if module.training:
            seen.add_(tokens.rows(inputs[0].detach()).float().square().sum(0))

    return hook
