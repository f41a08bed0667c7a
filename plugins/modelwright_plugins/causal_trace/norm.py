"""RMS normalization as one operator (RMSNormalization-23) instead of the seven it is written with."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

NormKind = Literal["weight", "one_plus_weight"]
EPSILONS = ("variance_epsilon", "eps", "epsilon")


@contextmanager
def observed_norms(model: PreTrainedModel) -> Iterator[dict[str, NormKind | None]]:
    """While the model runs, compare each RMS norm with the operator's formula; the kind by module name.

    None stays where a module computes something else.
    """
    kinds: dict[str, NormKind | None] = {}
    handles = [
        module.register_forward_hook(functools.partial(_compare, kinds, name))
        for name, module in model.named_modules()
        if type(module).__name__.endswith("RMSNorm")
    ]
    try:
        yield kinds
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def whole_norms(model: PreTrainedModel, kinds: Mapping[str, NormKind]) -> Iterator[None]:
    """Trace the named modules as one operator each."""
    modules = {name: model.get_submodule(name) for name in kinds}
    for name, module in modules.items():
        module.forward = functools.partial(_operator, module, kinds[name])
    try:
        yield
    finally:
        for module in modules.values():
            del module.forward


def _compare(
    kinds: dict[str, NormKind | None], name: str, module: torch.nn.Module, args: Any, output: Any
) -> None:
    import torch

    # A module that ran before with another result, or that takes more than its input, is no plain norm.
    if name in kinds and kinds[name] is None:
        return
    kinds[name] = None
    epsilon, weight = _epsilon(module), getattr(module, "weight", None)
    if epsilon is None or not isinstance(weight, torch.Tensor) or len(args) != 1 or weight.ndim != 1:
        return
    x = args[0].float()
    normalized = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + epsilon)
    tolerance = 1e-5 if output.dtype == torch.float32 else 2e-2
    scales: tuple[tuple[NormKind, torch.Tensor], ...] = (
        ("weight", weight.float()),
        ("one_plus_weight", 1.0 + weight.float()),
    )
    for kind, scale in scales:
        if torch.allclose(output.float(), normalized * scale, rtol=tolerance, atol=tolerance):
            kinds[name] = kind
            return


def _epsilon(module: torch.nn.Module) -> float | None:
    found = (getattr(module, name, None) for name in EPSILONS)
    return next((value for value in found if isinstance(value, float)), None)


def _operator(module: torch.nn.Module, kind: NormKind, x: torch.Tensor) -> torch.Tensor:
    import torch

    weight = module.weight
    assert isinstance(weight, torch.Tensor)
    scale = weight if kind == "weight" else 1.0 + weight.float()
    result: torch.Tensor = torch.onnx.ops.symbolic(
        "RMSNormalization",
        (x, scale.to(x.dtype)),
        {"axis": -1, "epsilon": _epsilon(module) or 0.0},
        dtype=x.dtype,
        shape=x.shape,
        version=23,
    )
    return result
