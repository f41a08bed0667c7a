"""OpenVINO's intermediate representation, read as files: the graph is XML, the weights lie beside it.

The layout is OpenVINO's "IR format" (operation sets and `<layer>`, `<data>` elements of version 11).
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from modelwright.errors import RecipeError

GRAPH_FILE = "openvino_model.xml"
WEIGHTS_FILE = "openvino_model.bin"

# Shapes, axes and indices are i64, i32 or boolean; weights are these.
WEIGHT_TYPES = frozenset(
    {"f64", "f32", "f16", "bf16", "f8e4m3", "f8e5m2", "i8", "u8", "i4", "u4", "nf4", "i2", "u2", "u1"}
)
FLOAT_TYPES: dict[str, str] = {"f64": "<f8", "f32": "<f4", "f16": "<f2"}
# Operations that the file spells unlike their specification, which spells them as ONNX does.
OPERATION_NAMES = {"Const": "Constant", "PReLU": "PRelu", "ReLU": "Relu", "SoftMax": "Softmax"}


class Constant(NamedTuple):
    """A constant of the graph: its place in the weights file in bytes."""

    name: str
    element_type: str
    shape: tuple[int, ...]
    offset: int
    size: int

    @property
    def elements(self) -> int:
        """Number of elements; 1 for a scalar."""
        return math.prod(self.shape)


class Graph(NamedTuple):
    """The layers of a graph, those of nested bodies included; types by their names in the specification."""

    layer_types: tuple[str, ...]
    constants: tuple[Constant, ...]

    @property
    def end(self) -> int:
        """Bytes that the weights file must hold."""
        return max((constant.offset + constant.size for constant in self.constants), default=0)

    @property
    def weights(self) -> list[Constant]:
        """Constants that are weights, each stretch of the file once (equal constants share one)."""
        by_place = {(c.offset, c.size): c for c in self.constants if c.element_type in WEIGHT_TYPES}
        return list(by_place.values())


def read_graph(path: Path) -> Graph:
    """The graph of a model folder. Raises RecipeError when it is missing or does not parse."""
    file = path / GRAPH_FILE
    if not file.is_file():
        raise RecipeError("The folder has no graph.", where=str(path), accepted=GRAPH_FILE)
    try:
        layers = list(ElementTree.parse(file).getroot().iter("layer"))
        constants = tuple(_constants(layers))
        types = tuple(OPERATION_NAMES.get(kind := layer.attrib["type"], kind) for layer in layers)
    except (ElementTree.ParseError, KeyError, ValueError) as error:
        raise RecipeError(
            f"The graph is damaged or cut short: {error}", where=str(file), hint="export the model again"
        ) from error
    if not types:
        raise RecipeError("The graph holds no layers.", where=str(file), hint="export the model again")
    return Graph(types, constants)


def not_finite(path: Path, graph: Graph) -> Iterator[tuple[Constant, int]]:
    """Weights with NaN or infinity, and how many values are.

    Scalars are passed over: infinity is how graphs write an attention mask.
    """
    if not graph.end:
        return
    data = np.memmap(path / WEIGHTS_FILE, dtype=np.uint8, mode="r")
    for constant in graph.weights:
        raw = data[constant.offset : constant.offset + constant.size]
        if constant.element_type == "bf16":
            # Exponent bits all set; NumPy has no bfloat16.
            bad = int(((raw.view("<u2") & 0x7F80) == 0x7F80).sum())
        elif constant.element_type in FLOAT_TYPES:
            bad = int((~np.isfinite(raw.view(FLOAT_TYPES[constant.element_type]))).sum())
        else:
            continue
        if bad and constant.elements > 1:
            yield constant, bad


def _constants(layers: list[ElementTree.Element]) -> Iterator[Constant]:
    for layer in layers:
        if layer.attrib["type"] != "Const":
            continue
        data = layer.find("data")
        if data is None:
            raise ValueError(f"constant '{layer.get('name')}' has no data")
        dimensions = [part for part in data.attrib["shape"].split(",") if part.strip()]
        yield Constant(
            layer.attrib["name"],
            data.attrib["element_type"],
            tuple(int(part) for part in dimensions),
            int(data.attrib["offset"]),
            int(data.attrib["size"]),
        )
