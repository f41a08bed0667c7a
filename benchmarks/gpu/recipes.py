"""Recipes for NVIDIA GPUs, run to their verdict: what each gate asked, and what it was judged by."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import modelwright
from benchmarks.gpu.steps import TARGETS, usable_libraries
from modelwright.api.metric import Interval
from modelwright.errors import ModelwrightError
from modelwright.report.units import memory, quantity

ON_CUDA = (("lm-cuda-int4", ""), ("encoder-cuda-fp16", ""), ("lm-int8-onnx", "target=cuda"))
ENGINES = ("encoder-tensorrt-fp16", "encoder-tensorrt-int8", "lm-tensorrt-fp16")


def runs() -> list[tuple[str, str]]:
    """Recipes, each with an override or none; those of TensorRT where it serves the GPU here."""
    return [*ON_CUDA, *((name, f"target={TARGETS[item]}") for item in usable_libraries() for name in ENGINES)]


def measure(work: Path) -> Iterator[dict[str, Any]]:
    """A row for each gate of each recipe, with the recipe's verdict, or one that says why a run failed."""
    for name, override in runs():
        row: dict[str, Any] = {"recipe": f"{name} {override}".strip()}
        try:
            overrides = [override] if override else []
            ran = modelwright.run(name, overrides, artifacts=work / "artifacts", store=work / "store")
        except ModelwrightError as error:
            reason = error.what.splitlines()[0].replace("|", r"\|")
            yield {**row, "verdict": "failed", "gate": "", "asked": "", "judged": reason, "passed": False}
            continue
        row["verdict"] = ran.report.verdict
        for gate in ran.report.gates:
            yield {
                **row,
                "gate": gate.name,
                "asked": gate.asked,
                "judged": quantity(gate.measured, gate.unit),
                "passed": not gate.closes,
            }
        for value in ran.report.values:
            if value.name == "memory.gpu":
                yield {
                    **row,
                    "gate": value.name,
                    "asked": "no gate",
                    "judged": f"{_amount(value.baseline)} before, {_amount(value.candidate)} now",
                    "passed": True,
                }


def _amount(interval: Interval | None) -> str:
    return "nothing" if interval is None else memory(interval.value)
