"""Which nodes of a graph ONNX Runtime gave to which provider."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from modelwright.errors import RecipeError

if TYPE_CHECKING:
    import onnxruntime

# The session option that keeps what `require_assigned` reads.
RECORD_ASSIGNMENT = "session.record_ep_graph_assignment_info"
CPU = "CPUExecutionProvider"
# Arithmetic on shapes and masks, which every provider leaves to the CPU on purpose; all else is computing.
# CUDA's has kernels for these, too, so that floats are not among what it leaves.
SHAPE_ARITHMETIC = frozenset({
    "Abs", "Add", "And", "Cast", "Clip", "Concat", "Constant", "ConstantOfShape", "CumSum", "Div", "Equal",
    "Expand", "Flatten", "Floor", "Gather", "GatherElements", "GatherND", "Greater", "GreaterOrEqual",
    "Identity", "Less", "LessOrEqual", "Max", "Min", "Mod", "Mul", "Neg", "NonZero", "Not", "Or", "Pad",
    "Range", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceSum", "Reshape", "ScatterElements", "ScatterND",
    "Shape", "Sign", "Size", "Slice", "Split", "Squeeze", "Sub", "Tile", "Transpose", "Trilu", "Unsqueeze",
    "Where", "Xor",
})  # fmt: skip


def require_assigned(session: onnxruntime.InferenceSession, provider: str, where: str) -> None:
    """Raise RecipeError where another provider than the CPU's was asked for and the CPU computes.

    A session whose provider lacks a kernel runs that node on the CPU without a word, each time with the
    tensors copied there and back.
    """
    if provider == CPU:
        return
    left = Counter(
        node.op_type
        for part in session.get_provider_graph_assignment_info()
        if part.ep_name == CPU
        for node in part.get_nodes()
        if node.op_type not in SHAPE_ARITHMETIC
    )
    if left:
        found = ", ".join(f"{count} {name}" for name, count in left.most_common(5))
        raise RecipeError(
            f"{provider} leaves operators of the graph to the CPU: {found}.",
            where=where,
            accepted="a graph whose operators the provider has kernels for, in types that it computes in",
            hint="on CUDA half precision (cast.dtype with fp16), weights in 8 or 4 bits, no ranges found "
            "while running; or target=cpu",
        )
