"""JSON files of a checkpoint folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from modelwright.errors import RecipeError


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object from a file; empty when there is none. Raises RecipeError when it does not parse."""
    if not file.is_file():
        return {}
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RecipeError(f"The file is not JSON: {error}", where=str(file)) from error
    if not isinstance(value, dict):
        raise RecipeError("The file does not hold a JSON object.", where=str(file))
    return value
