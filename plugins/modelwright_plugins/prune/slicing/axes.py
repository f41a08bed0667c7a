"""What the dimensions of a transformer's tensors count: channels, neurons, heads."""

from __future__ import annotations

from typing import Literal, NamedTuple

from modelwright.api.anatomy import Shape

Kind = Literal["width", "neurons", "queries", "keys"]


class Sizes(NamedTuple):
    """How many of each a transformer has; `queries` are its attention heads, `keys` those of keys and values.

    Every layer has as many as the others.
    """

    layers: int
    width: int
    neurons: int
    queries: int
    keys: int
    head_dim: int

    def of(self, kind: Kind) -> int:
        """The number of units of a kind."""
        found: int = getattr(self, kind)
        return found

    @property
    def group(self) -> int:
        """Query heads that share a key-value head."""
        return self.queries // self.keys


class Segment(NamedTuple):
    """A part of a dimension with `rows` places for each unit of a kind, or as many times the head size."""

    kind: Kind
    rows: int = 1
    heads: bool = False

    def unit(self, head_dim: int) -> int:
        """Places of one unit."""
        return self.rows * (head_dim if self.heads else 1)


# A dimension is its segments one after the other; one without any stays as it is.
Dimension = tuple[Segment, ...]
# Of a matrix [outputs, inputs], of a norm [outputs], of an embedding [rows, width].
Dimensions = tuple[Dimension, ...]

FIXED: Dimension = ()
WIDTH: Dimension = (Segment("width"),)
NEURONS: Dimension = (Segment("neurons"),)
QUERIES: Dimension = (Segment("queries", heads=True),)
KEYS: Dimension = (Segment("keys", heads=True),)


def sizes_of(shape: Shape) -> Sizes:
    """The sizes of a transformer whose shape is known whole."""
    figures = (shape.layers, shape.hidden, shape.intermediate, shape.heads, shape.kv_heads, shape.head_dim)
    assert None not in figures, "every family that can be cut has all of them in its configuration"
    return Sizes(*(figure or 0 for figure in figures))


def length(dimension: Dimension, sizes: Sizes) -> int:
    """How long a dimension is in a transformer of some sizes."""
    return sum(sizes.of(segment.kind) * segment.unit(sizes.head_dim) for segment in dimension)
