"""Operators of an ONNX graph, wherever they stand in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import FunctionProto, ModelProto, NodeProto

# ONNX's own operators go by two names; ONNX Runtime's fused ones are as well known by type alone.
KNOWN_DOMAINS = ("", "ai.onnx", "com.microsoft")
Functions = dict[tuple[str, str, str], "FunctionProto"]


def count_operators(model: ModelProto) -> Counter[str]:
    """Operators by type, those in the branches of If and the bodies of Loop and Scan included.

    A call of a model-local function counts as what its body holds. An operator of a domain that is neither
    ONNX's nor ONNX Runtime's is named with it, `domain::Type`: its type alone says nothing of what it does.
    """
    functions = {(item.domain, item.name, item.overload): item for item in model.functions}
    return _count(model.graph.node, functions, {})


def _count(
    nodes: Iterable[NodeProto], functions: Functions, known: dict[tuple[str, str, str], Counter[str]]
) -> Counter[str]:
    counts: Counter[str] = Counter()
    for node in nodes:
        key = (node.domain, node.op_type, node.overload)
        if key in functions:
            if key not in known:
                known[key] = _count(functions[key].node, functions, known)
            counts.update(known[key])
        else:
            own = node.domain in KNOWN_DOMAINS
            counts[node.op_type if own else f"{node.domain}::{node.op_type}"] += 1
        for attribute in node.attribute:
            for body in (attribute.g, *attribute.graphs):
                counts.update(_count(body.node, functions, known))
    return counts
