from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from modelwright.engine import run as engine
from modelwright.engine.run import RunResult


def test_a_run_releases_nothing_that_another_released_meanwhile(
    run_recipe: Callable[..., RunResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("transformers", reason="needs transformers")
    recipe = {"stages": {"cast": {"use": "cast.dtype", "dtype": "bf16"}}}
    other: list[RunResult] = []
    record = engine.record_samples

    def while_another_runs(*arguments: Any) -> Any:
        monkeypatch.setattr(engine, "record_samples", record)
        other.append(run_recipe(recipe))
        return record(*arguments)

    monkeypatch.setattr(engine, "record_samples", while_another_runs)
    result = run_recipe(recipe)
    assert [other[0].report.verdict, result.report.verdict] == ["released", "unchanged"]
    assert other[0].artifact == result.artifact
