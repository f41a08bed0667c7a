"""Names of an OpenVINO graph's operators: those a pattern means, and those that quantizing made up."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from modelwright.errors import RecipeError, did_you_mean

if TYPE_CHECKING:
    import openvino

NOT_OPERATORS = ("Constant", "Parameter", "Result")
# Names that OpenVINO makes up from a counter, which never restarts within a process.
COUNTED = re.compile(r"^[A-Za-z]+_\d+$")


def matching_operators(graph: openvino.Model, patterns: Sequence[str], where: str) -> tuple[str, ...]:
    """Operators whose names match one of the shell patterns.

    Raises RecipeError for a pattern that matches none.
    """
    names = [n.get_friendly_name() for n in graph.get_ordered_ops() if n.get_type_name() not in NOT_OPERATORS]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise RecipeError(
                f"No operator of the graph is called '{pattern}'.",
                where=where,
                accepted="a name or shell pattern, such as encoder.layer.0.* or *.output.dense",
                hint=did_you_mean(pattern, names),
            )
    return tuple(name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns))


def rename_counted(graph: openvino.Model, kept: set[str]) -> None:
    """Number the nodes that were added by their place, so that the same input gives the same bytes."""
    count = 0
    for node in graph.get_ordered_ops():
        name = node.get_friendly_name()
        if COUNTED.match(name) and (name not in kept or node.get_type_name() == "Constant"):
            node.set_friendly_name(f"{node.get_type_name()}_q{count}")
            count += 1
