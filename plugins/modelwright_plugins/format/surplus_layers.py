"""Layers that lie in the weights and not in the configuration."""

from __future__ import annotations

import re
from pathlib import Path

from modelwright.api.anatomy import Anatomy
from modelwright.errors import RecipeError
from modelwright_plugins.format.json_file import read_json

NUMBERED = re.compile(r"^(?P<stack>(?:.*?\.)?[a-z_]+)\.(?P<number>\d+)\.")


def require_no_more_layers(anatomy: Anatomy, path: Path) -> None:
    """Raise RecipeError for layers past the last that config.json counts, which transformers would drop.

    Those that predict further tokens (`num_nextn_predict_layers`) are meant to be dropped.
    """
    if read_json(path / "config.json").get("num_nextn_predict_layers"):
        return
    last: dict[str, int] = {}
    beyond: list[tuple[str, str, int]] = []
    for module in anatomy.modules:
        found = NUMBERED.match(f"{module.path}.")
        if found is None:
            continue
        stack, number = found["stack"], int(found["number"])
        if all(tensor.group == "other" for tensor in module.tensors):
            beyond.append((module.path, stack, number))
        else:
            last[stack] = max(number, last.get(stack, 0))
    for name, stack, number in beyond:
        # What the configuration does not imply may lack the base model's prefix.
        ends = [end for known, end in last.items() if known == stack or known.endswith(f".{stack}")]
        if ends and number > max(ends):
            raise RecipeError(
                f"The weights hold '{name}', and config.json's last layer is {max(ends)}.",
                where=str(path / "config.json"),
                hint="compare the number of layers with the checkpoint's origin",
            )
