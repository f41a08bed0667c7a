"""Layers quantized by the method that a recipe names."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from modelwright_plugins.weight_only.blocks import BlockWeight, Reals
from modelwright_plugins.weight_only.calibration import Feed, hessians
from modelwright_plugins.weight_only.gptq import gptq
from modelwright_plugins.weight_only.hqq import half_quadratic
from modelwright_plugins.weight_only.k_quant import k_quant
from modelwright_plugins.weight_only.layers import Layer
from modelwright_plugins.weight_only.rtn import round_to_nearest

if TYPE_CHECKING:
    import onnx_ir as ir

MethodName = Literal["rtn", "hqq", "k_quant", "gptq"]
METHODS: Mapping[str, Callable[..., BlockWeight]] = {
    "rtn": round_to_nearest,
    "hqq": half_quadratic,
    "k_quant": k_quant,
    # Where nothing was run through a matrix: tables, and what shares its blocks with one.
    "gptq": k_quant,
}


def quantized(
    graph: ir.Model,
    layers: Sequence[Layer],
    bits_of: Callable[[Layer], Collection[int]],
    method: MethodName,
    feeds: Sequence[Feed],
    *,
    block_size: int,
    symmetric: bool,
    damping: float,
    act_order: bool,
) -> Iterator[tuple[Layer, dict[int, BlockWeight]]]:
    """Each layer quantized to each of the numbers of bits that `bits_of` asks for it, in any order.

    GPTQ runs `feeds` through the graph. A layer that shares its matrix with lookups is quantized by k-quant
    then: GPTQ trades the errors of single weights for those of outputs, and a lookup shows the former.
    """
    by_data = [layer for layer in layers if method == "gptq" and not layer.lookups]
    for layer, hessian in hessians(graph, by_data, feeds):
        matrix = layer.matrix()
        yield (
            layer,
            {
                bits: gptq(
                    matrix,
                    hessian,
                    bits,
                    block_size,
                    symmetric=symmetric,
                    damping=damping,
                    act_order=act_order,
                ).with_scales(layer.dtype)
                for bits in bits_of(layer)
            },
        )
    for layer in layers:
        if layer not in by_data:
            matrix = layer.matrix()
            yield (
                layer,
                {
                    bits: without_data(matrix, method, bits, block_size, symmetric=symmetric).with_scales(
                        layer.dtype
                    )
                    for bits in bits_of(layer)
                },
            )


def method_of(layer: Layer, method: MethodName) -> str:
    """The method that a layer is really quantized by."""
    return "k_quant" if method == "gptq" and layer.lookups else method


def without_data(
    matrix: Reals, method: MethodName, bits: int, block_size: int, *, symmetric: bool
) -> BlockWeight:
    """A matrix [inputs, outputs] quantized by the method, or by what stands in for it without data."""
    return METHODS[method](matrix, bits, block_size, symmetric=symmetric)
