"""What a target may say of a GPU, and what not of a machine without one."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from modelwright.api.target import Target
from modelwright.errors import RecipeError
from modelwright.planning.hardware import check_target


@pytest.mark.parametrize("fields", [{"memory_limit": "8GiB"}, {"graph_capture": True}])
def test_what_is_for_a_gpu_is_refused_for_the_cpu(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="is for a GPU: set device to cuda"):
        Target.model_validate(fields)
    Target.model_validate({"device": "cuda", **fields})


def test_a_limit_that_is_no_size_is_refused() -> None:
    with pytest.raises(ValidationError, match="memory_limit"):
        Target(device="cuda", memory_limit="much")
    with pytest.raises(RecipeError, match="is no amount of memory") as refused:
        check_target(Target(device="cuda", memory_limit="0GiB"), "target.device")
    assert refused.value.where == "target.memory_limit"
