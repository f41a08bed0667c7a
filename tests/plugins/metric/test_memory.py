from __future__ import annotations

from typing import Any

import pytest

from modelwright.api.metric import MetricContext, Value
from modelwright.api.model import Model
from modelwright.api.target import Target
from modelwright_plugins.format.torch import Torch
from modelwright_plugins.metric.memory import Memory

HOST = {"bytes": 400, "batch": 1, "length": 16}


def figures(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Value]:
    return {value.name: value for value in Memory().compare([before], [after], seed=0)}


def test_the_cpu_has_one_peak(tiny_checkpoint: Model) -> None:
    pytest.importorskip("torch", reason="needs torch")
    target = Target(threads=1)
    runner = Torch().runner(tiny_checkpoint, target)
    (seen,) = Memory(batch=2, length=8).observe(
        tiny_checkpoint, runner, MetricContext(target, 0, Torch(), {})
    )
    assert set(seen) == {"bytes", "batch", "length"}
    assert seen["bytes"] > 100 * 2**20
    assert [*figures(dict(seen), dict(seen))] == ["memory.peak"]


def test_tensors_on_a_gpu_count_apart_where_both_tell() -> None:
    found = figures({**HOST, "cuda_bytes": 900}, {**HOST, "cuda_bytes": 300})
    assert [*found] == ["memory.peak", "memory.cuda"]
    ratio = found["memory.cuda"].ratio
    assert ratio is not None
    assert ratio.value == 3
    assert [*figures({**HOST, "cuda_bytes": 900}, HOST)] == ["memory.peak"]


def test_what_the_driver_handed_out_counts_in_any_runtime() -> None:
    found = figures({**HOST, "gpu_bytes": 900, "cuda_bytes": 700}, {**HOST, "gpu_bytes": 450})
    assert [*found] == ["memory.peak", "memory.gpu"]
    assert found["memory.gpu"].ratio.value == 2  # type: ignore[union-attr]
    assert [*figures({**HOST, "gpu_bytes": 900}, HOST)] == ["memory.peak"]  # the candidate uses none


def test_models_that_ran_with_other_inputs_are_not_compared() -> None:
    found = figures({**HOST, "cuda_bytes": 900}, {**HOST, "length": 8, "cuda_bytes": 300})
    assert all(value.baseline is None and value.ratio is None for value in found.values())
    assert found["memory.cuda"].protocol == {"batch": 1, "length": 8}
