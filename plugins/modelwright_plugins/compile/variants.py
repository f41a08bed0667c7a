"""The forms of a graph that `compile.onnxruntime` makes, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from modelwright.api.model import TASKS, ModelSpec, Task
from modelwright.api.target import Target
from modelwright_plugins.compile.key_lengths import attend_by_lengths
from modelwright_plugins.compile.native_attention import absorb_into_attention
from modelwright_plugins.compile.packing import pack_products
from modelwright_plugins.compile.rewrites import (
    drop_unattended_rows,
    flatten_heads,
    fuse_for_provider,
    keep_norms_plain,
    share_key_mask,
)
from modelwright_plugins.format.onnx_cuda import CUDA

if TYPE_CHECKING:
    import onnx_ir as ir

Rewrite = Callable[["ir.Model", Target, ModelSpec], int]
GENERATES: tuple[Task, ...] = ("generate",)
ENCODES: tuple[Task, ...] = ("embed", "classify")


class Form(NamedTuple):
    """How a variant is made, and of models for which tasks; None leaves the operators as they come.

    `wants` says what it is for beside that, where it is not for every target and type.
    """

    rewrite: Rewrite | None
    tasks: tuple[Task, ...]
    wants: str = ""


def _exact(*rewrites: Callable[[ir.Model], int]) -> Rewrite:
    """Several rewrites as one; how often any of them applied."""
    return lambda model, target, spec: sum(rewrite(model) for rewrite in rewrites)


def _fused(model: ir.Model, target: Target, spec: ModelSpec) -> int:
    return pack_products(model) + absorb_into_attention(model, spec.max_length)


def _lengths(model: ir.Model, target: Target, spec: ModelSpec) -> int:
    # The CPU computes attention in tiles only without a mask; `sdpa_kernel` may rule tiles out on a GPU.
    tiles = target.provider == CUDA and "sdpa_kernel" not in target.provider_options
    if not tiles or not (done := attend_by_lengths(model)):
        return 0
    return done + fuse_for_provider(model, target.provider)


def _contrib(model: ir.Model, target: Target, spec: ModelSpec) -> int:
    return fuse_for_provider(model, target.provider)


# In the order in which `auto` prefers them when none is measurably faster.
VARIANTS: dict[str, Form] = {
    "fused": Form(_fused, GENERATES),
    "packed": Form(_exact(pack_products), GENERATES),
    "lengths": Form(_lengths, ENCODES, "a graph in float16 and CUDAExecutionProvider without sdpa_kernel"),
    "lean": Form(_exact(drop_unattended_rows, share_key_mask, flatten_heads, keep_norms_plain), ENCODES),
    "flat": Form(_exact(drop_unattended_rows, share_key_mask, flatten_heads), ENCODES),
    "standard": Form(None, TASKS),
    "contrib": Form(_contrib, ENCODES),
    "extended": Form(None, ENCODES),
}


def variants_for(task: Task) -> list[str]:
    """The names of those that models of a task take."""
    return [name for name, form in VARIANTS.items() if task in form.tasks]
