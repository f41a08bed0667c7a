"""Pages of what a GPU gave say what their files do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from benchmarks.gpu.page import page

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


def document(table: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / f"gpu-{table}.json").read_text("utf-8"))
    return found


@pytest.mark.parametrize("table", ["attention", "encoder", "decoder", "runtimes"])
def test_a_page_is_made_of_its_file(table: str) -> None:
    assert (RESULTS / f"gpu-{table}.md").read_text("utf-8") == page(document(table))


def test_what_was_not_recorded_is_said() -> None:
    found = document("encoder")
    found["rows"][0]["unrecorded"] = {"ONNX Runtime": "no kernel"}
    assert "Not recorded as a CUDA graph: ONNX Runtime (no kernel)." in page(found)


def test_recipes_show_each_gate() -> None:
    gate = {"recipe": "a", "verdict": "released", "gate": "speed", "asked": "1.2 times", "judged": "2.00×"}
    failed = {"recipe": "b", "verdict": "failed", "gate": "", "asked": "", "judged": "no room"}
    rows = [{**gate, "passed": True}, {**failed, "passed": False}]
    text = page({**document("encoder"), "table": "recipes", "rows": rows, "failed": None})
    assert "| a | released | speed | 1.2 times | 2.00× | passed |" in text
    assert "| b | failed |  |  | no room | **failed** |" in text
    assert "TFLOP/s" not in text
