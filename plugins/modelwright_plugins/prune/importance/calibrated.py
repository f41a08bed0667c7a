"""Importance by what calibration data make of heads, neurons and channels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from modelwright.errors import StageError
from modelwright_plugins.blockwise.token_mask import TokenMask
from modelwright_plugins.prune.importance.scores import Scores
from modelwright_plugins.prune.slicing.axes import Sizes
from modelwright_plugins.prune.slicing.cut import norms_of
from modelwright_plugins.prune.slicing.families import Family

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from modelwright_plugins.prune.importance.steps import Step


class Sites:
    """Where units are seen: what the outputs of attention and MLP read, and what the norms give."""

    def __init__(self, network: PreTrainedModel, family: Family) -> None:
        self.heads = _by_layer(network, family, family.attention_output)
        self.neurons = _by_layer(network, family, family.mlp_output)
        self.norms = norms_of(network, family)

    def readers(self) -> dict[str, torch.nn.Module]:
        """The modules that read heads and neurons, by name."""
        return {**self.heads, **self.neurons}

    def scores(self, energy: dict[str, torch.Tensor], sizes: Sizes) -> Scores:
        """Scores of a sum [values] for each site, by name."""
        import torch

        for name, values in energy.items():
            if not torch.isfinite(values).all():
                raise StageError(
                    f"The importance of what '{name}' sees is not finite on the calibration data.",
                    where="model.path",
                    hint="use a checkpoint whose activations do not overflow, or other calibration data",
                )
        heads = torch.stack([energy[name].reshape(sizes.queries, -1).sum(1) for name in self.heads])
        return Scores(
            width=torch.stack([energy[name] for name in self.norms]).sum(0),
            neurons=torch.stack([energy[name] for name in self.neurons]),
            queries=heads,
            keys=torch.zeros(sizes.layers, sizes.keys),
        )


def activations(network: PreTrainedModel, family: Family, sizes: Sizes, steps: Iterable[Step]) -> Scores:
    """The mean square of each activation over the tokens of the batches (summed over a head's values).

    Source: Muralidharan et al. 2024, arXiv:2407.14679, with the mean of squares for both aggregations.
    """
    import torch

    sites = Sites(network, family)
    sums: dict[str, torch.Tensor] = {}
    counts: dict[str, int] = {}

    def add(name: str, values: torch.Tensor) -> None:
        rows = values.reshape(-1, values.shape[-1]).float()
        sums[name] = sums.get(name, torch.zeros(rows.shape[1])) + rows.square().sum(0).cpu()
        counts[name] = counts.get(name, 0) + len(rows)

    shares = _EnergyShares(network)
    with _hooked(sites, lambda name, value: add(name, value), shares), torch.no_grad():
        for step in steps:
            step()
    scores = sites.scores({name: total / counts[name] for name, total in sums.items()}, sizes)
    scores.energy = shares.means()
    return scores


def taylor(network: PreTrainedModel, family: Family, sizes: Sizes, steps: Iterable[Step]) -> Scores:
    """The squared change of the loss, to first order, when a unit goes; the mean over batches.

    A gate of 1 at each unit has the gradient that the sum of w x dL/dw over its weights is. Source:
    Molchanov et al. 2019, arXiv:1906.10771.
    """
    import torch

    network.requires_grad_(False)
    sites = Sites(network, family)
    gates: dict[str, torch.Tensor] = {}
    sums: dict[str, torch.Tensor] = {}

    def gated(name: str, value: torch.Tensor) -> torch.Tensor:
        if name not in gates:
            gates[name] = torch.ones(value.shape[-1], dtype=value.dtype, device=value.device)
            gates[name].requires_grad_(True)
        return value * gates[name]

    def change(name: str) -> torch.Tensor:
        gradient = gates[name].grad
        gates[name].grad = None
        if gradient is None:  # the loss does not see it
            return torch.zeros(1)
        if name in sites.heads:  # a head goes as one: its values have one gate
            return gradient.float().reshape(sizes.queries, -1).sum(1).cpu()
        return gradient.float().cpu()

    shares = _EnergyShares(network)
    done = 0
    with _hooked(sites, gated, shares), torch.enable_grad():
        for step in steps:
            loss = step()
            assert loss is not None
            loss.backward()
            for name in gates:
                sums[name] = sums.get(name, torch.zeros(1)) + change(name).square()
            done += 1
    scores = sites.scores({name: total / done for name, total in sums.items()}, sizes)
    scores.energy = shares.means()
    return scores


class _EnergyShares:
    """The share of each channel in the energy that a norm divides by, the mean over tokens."""

    def __init__(self, network: PreTrainedModel) -> None:
        self.tokens = TokenMask(network)
        self._sums: dict[str, torch.Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, name: str, module: torch.nn.Module, entering: torch.Tensor) -> None:
        import torch

        rows = self.tokens.rows(entering.detach()).float()
        if isinstance(module, torch.nn.LayerNorm):
            rows = rows - rows.mean(1, keepdim=True)
        squares = rows.square()
        found = (squares / squares.sum(1, keepdim=True).clamp_min(1e-30)).sum(0).cpu()
        self._sums[name] = self._sums.get(name, torch.zeros_like(found)) + found
        self._counts[name] = self._counts.get(name, 0) + len(rows)

    def means(self) -> dict[str, torch.Tensor]:
        return {name: total / self._counts[name] for name, total in self._sums.items()}


def _by_layer(network: PreTrainedModel, family: Family, module: str) -> dict[str, torch.nn.Module]:
    return {
        name: found
        for name, found in network.named_modules()
        if (place := family.place(name)) is not None and place[1] == module
    }


@contextmanager
def _hooked(sites: Sites, see: Callable[[str, Any], Any], shares: _EnergyShares) -> Iterator[None]:
    """`see` gets what each site sees, and what it gives in its place is used where it gives anything."""

    def reader(name: str) -> Any:
        def hook(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> Any:
            found = see(name, inputs[0])
            return None if found is None else (found, *inputs[1:])

        return hook

    def norm(name: str) -> Any:
        def hook(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> Any:
            shares.add(name, module, inputs[0])
            return see(name, output)

        return hook

    handles = [module.register_forward_pre_hook(reader(name)) for name, module in sites.readers().items()]
    handles += [module.register_forward_hook(norm(name)) for name, module in sites.norms.items()]
    try:
        yield
    finally:
        shares.tokens.remove()
        for handle in handles:
            handle.remove()
