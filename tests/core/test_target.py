"""What a target may say of a GPU, and what not of a machine without one."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from modelwright.api.target import Target
from modelwright.errors import RecipeError
from modelwright.planning.hardware import check_target

CUDA = {"device": "cuda", "provider": "CUDAExecutionProvider"}
FOR_ONNX_RUNTIME: list[dict[str, Any]] = [{"graph_capture": True}, {"provider_options": {"use_tf32": "0"}}]


def test_a_limit_of_memory_is_for_a_gpu() -> None:
    with pytest.raises(ValidationError, match="memory_limit is for a GPU: set device to cuda"):
        Target(memory_limit="8GiB")


@pytest.mark.parametrize("fields", FOR_ONNX_RUNTIME)
def test_what_is_for_onnx_runtime_on_a_gpu_is_refused_elsewhere(fields: dict[str, Any]) -> None:
    Target.model_validate({**CUDA, **fields})
    for other in ({}, {"device": "cuda"}, {**CUDA, "tensorrt": "tensorrt"}):
        with pytest.raises(ValidationError, match="is for ONNX Runtime on a GPU"):
            Target.model_validate({**other, **fields})


@pytest.mark.parametrize("limit", ["much", "0GiB"])
def test_a_limit_that_is_no_size_is_refused(limit: str) -> None:
    with pytest.raises(RecipeError, match="is no amount of memory") as refused:
        check_target(Target(device="cuda", memory_limit=limit), "target.device")
    assert refused.value.where == "target.memory_limit"
