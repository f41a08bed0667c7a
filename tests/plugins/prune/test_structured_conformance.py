"""What every stage promises, kept by structured pruning."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from modelwright.testing.conformance import StageConformance
from modelwright_plugins.prune.structured import PruneStructured

pytest.importorskip("transformers", reason="needs transformers")


class TestLanguageModel(StageConformance):
    stage = PruneStructured
    parameters: ClassVar[dict[str, Any]] = {
        "data": "texts",
        "parameters": 0.3,
        "cut": ["neurons", "heads", "layers"],
        "importance": "taylor",
        "samples": 8,
        "length": 32,
    }
    task = "generate"
