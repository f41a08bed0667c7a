"""A TensorRT network out of an ONNX graph."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelwright.errors import StageError

# Layer types by the names that their operators have in graphs, where a report counts them.
OPERATORS = {"ATTENTION_INPUT": "Attention", "SOFTMAX": "Softmax"}
# The second of two layers that stand for one operator, and what computes nothing.
NOT_COUNTED = ("ATTENTION_OUTPUT", "CONSTANT")
FIRST_ERRORS = 3


@dataclass(frozen=True)
class Input:
    """An input of the network; dimensions are sizes, or names where they are dynamic."""

    name: str
    dimensions: tuple[int | str, ...]


def parse(trt: Any, builder: Any, graph: Path, logger: Any) -> tuple[Any, Any]:
    """The network, and the parser, which has to live as long.

    Raises StageError that names each node that TensorRT does not take.
    """
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(graph)):
        found = [parser.get_error(number) for number in range(parser.num_errors)]
        reasons = [
            f"{error.node_operator()} '{error.node_name()}': {_reason(error.desc())}" for error in found
        ]
        more = f" and {len(reasons) - FIRST_ERRORS} more" if len(reasons) > FIRST_ERRORS else ""
        raise StageError(
            f"TensorRT does not take the graph: {'; '.join(reasons[:FIRST_ERRORS])}{more}.",
            where=str(graph),
            accepted="operators of ONNX that TensorRT's parser supports, in types that it computes in",
            hint="change the step that put the operator there",
        )
    return network, parser


def _reason(text: str) -> str:
    return text.removeprefix("Assertion failed: ").strip().rstrip(".")


def inputs_of(network: Any) -> list[Input]:
    """The inputs with their dimensions."""
    return [
        Input(
            tensor.name,
            tuple(
                tensor.get_dimension_name(axis) or f"{tensor.name}.{axis}" if size < 0 else size
                for axis, size in enumerate(tensor.shape)
            ),
        )
        for tensor in (network.get_input(number) for number in range(network.num_inputs))
    ]


def let_decompose(trt: Any, network: Any) -> None:
    """Let attention that no fused kernel serves be computed in parts."""
    for layer in _layers(network):
        if layer.type == trt.LayerType.ATTENTION_INPUT:
            layer.__class__ = trt.IAttentionInputLayer
            layer.attention.decomposable = True


def count_operators(network: Any) -> dict[str, int]:
    """How often each operator occurs."""
    names = [str(layer.type).rpartition(".")[2] for layer in _layers(network)]
    counts = Counter(
        OPERATORS.get(name, "".join(part.title() for part in name.split("_")))
        for name in names
        if name not in NOT_COUNTED
    )
    return dict(sorted(counts.items()))


def _layers(network: Any) -> list[Any]:
    return [network.get_layer(number) for number in range(network.num_layers)]
