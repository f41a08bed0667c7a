"""Rotary position embedding as one operator (RotaryEmbedding-23); Su et al., RoFormer, arXiv 2104.09864."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

# The name that modelling code gives the function: (query, key, cos, sin) -> (query, key).
FUNCTION = "apply_rotary_pos_emb"
Rotate = Callable[..., "tuple[torch.Tensor, torch.Tensor]"]


@dataclass(frozen=True)
class RotaryKind:
    """Which numbers form a pair (`interleaved`: neighbours; else the halves), and where their angles lie.

    `alternate`: each angle stands twice in a row in `cos` and `sin`; else the second half repeats the first.
    """

    interleaved: bool
    alternate: bool


KINDS = (RotaryKind(False, False), RotaryKind(True, True), RotaryKind(True, False))


@contextmanager
def observed_rotary(model: PreTrainedModel) -> Iterator[dict[str, RotaryKind | None]]:
    """While the model runs, compare its rotary functions with the operator's; the kind by module name.

    None stays where a function computes something else.
    """
    kinds: dict[str, RotaryKind | None] = {}
    candidates: dict[str, list[RotaryKind]] = {}
    modules = _modules(model)
    originals = {module.__name__: getattr(module, FUNCTION) for module in modules}
    for module in modules:
        setattr(
            module,
            FUNCTION,
            functools.partial(_compare, candidates, module.__name__, originals[module.__name__]),
        )
    try:
        yield kinds
    finally:
        for module in modules:
            setattr(module, FUNCTION, originals[module.__name__])
        kinds.update({name: fitting[0] if fitting else None for name, fitting in candidates.items()})


@contextmanager
def whole_rotary(kinds: Mapping[str, RotaryKind]) -> Iterator[None]:
    """Trace the rotary functions of the named modules as one operator each for query and key."""
    originals = {name: getattr(sys.modules[name], FUNCTION) for name in kinds}
    for name, kind in kinds.items():
        setattr(sys.modules[name], FUNCTION, functools.partial(_operators, kind))
    try:
        yield
    finally:
        for name, original in originals.items():
            setattr(sys.modules[name], FUNCTION, original)


def _modules(model: PreTrainedModel) -> list[ModuleType]:
    names = {type(module).__module__ for module in model.modules()}
    return [
        sys.modules[name] for name in sorted(names) if callable(getattr(sys.modules[name], FUNCTION, None))
    ]


def _compare(
    candidates: dict[str, list[RotaryKind]], name: str, original: Rotate, *args: Any, **kwargs: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    import torch

    result = original(*args, **kwargs)
    candidates.setdefault(name, list(KINDS))
    if len(args) < 4:
        # Some models have another function of the same name.
        candidates[name] = []
        return result
    q, k, cos, sin = args[:4]
    fits = []
    for kind in candidates[name]:
        rotated = [_rotate(kind, x, cos, sin) for x in (q, k)]
        if all(
            mine is not None and torch.allclose(mine, theirs, rtol=1e-4, atol=1e-4)
            for mine, theirs in zip(rotated, result, strict=True)
        ):
            fits.append(kind)
    candidates[name] = fits
    return result


def _angles(kind: RotaryKind, values: torch.Tensor) -> torch.Tensor:
    return values[..., ::2] if kind.alternate else values[..., : values.shape[-1] // 2]


def _rotate(kind: RotaryKind, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor | None:
    """The operator's formula; None where the shapes are not [batch, heads, length, width]."""
    import torch

    if x.ndim != 4 or cos.ndim != 3 or cos.shape[1] != x.shape[2] or cos.shape[-1] > x.shape[-1]:
        return None
    width = cos.shape[-1]
    c, s = (_angles(kind, values)[:, None] for values in (cos, sin))
    turned, rest = x[..., :width], x[..., width:]
    if kind.interleaved:
        a, b = turned[..., ::2], turned[..., 1::2]
        pairs = torch.stack((a * c - b * s, a * s + b * c), dim=-1)
        return torch.cat((pairs.flatten(-2), rest), dim=-1)
    a, b = turned[..., : width // 2], turned[..., width // 2 :]
    return torch.cat((a * c - b * s, a * s + b * c, rest), dim=-1)


def _operators(
    kind: RotaryKind,
    q: torch.Tensor,
    k: torch.Tensor,
    cos: torch.Tensor,
    sin: torch.Tensor,
    *_: Any,
    **__: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    return _operator(kind, q, cos, sin), _operator(kind, k, cos, sin)


def _operator(kind: RotaryKind, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotate [batch, heads, length, width] as [batch, length, heads * width], the layout it came from."""
    import torch

    batch, heads, length, width = x.shape
    partial = {} if cos.shape[-1] == width else {"rotary_embedding_dim": cos.shape[-1]}
    flat = x.transpose(1, 2).reshape(batch, length, heads * width)
    caches = [_angles(kind, values).to(x.dtype) for values in (cos, sin)]
    rotated: torch.Tensor = torch.onnx.ops.symbolic(
        "RotaryEmbedding",
        (flat, *caches),
        {"num_heads": heads, "interleaved": int(kind.interleaved), **partial},
        dtype=x.dtype,
        shape=flat.shape,
        version=23,
    )
    return rotated.reshape(batch, length, heads, width).transpose(1, 2)
