"""What every stage promises, kept by those that zero single weights."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from modelwright.testing.conformance import StageConformance
from modelwright_plugins.prune.magnitude import PruneMagnitude
from modelwright_plugins.prune.sparsegpt import PruneSparseGPT
from modelwright_plugins.prune.wanda import PruneWanda

pytest.importorskip("transformers", reason="needs transformers")

CALIBRATED = {"data": "texts", "samples": 8}


class TestMagnitude(StageConformance):
    stage = PruneMagnitude
    parameters: ClassVar[dict[str, Any]] = {"pattern": "2:4"}


class TestWanda(StageConformance):
    stage = PruneWanda
    parameters: ClassVar[dict[str, Any]] = CALIBRATED


class TestSparseGPT(StageConformance):
    stage = PruneSparseGPT
    parameters: ClassVar[dict[str, Any]] = {**CALIBRATED, "length": 32}
    task = "generate"
