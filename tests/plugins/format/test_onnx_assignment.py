"""A session whose provider leaves computing to the CPU is refused."""

from __future__ import annotations

import pytest

from modelwright.api.model import Model
from modelwright.api.target import Target
from modelwright.errors import RecipeError
from modelwright_plugins.format.onnx_assignment import require_assigned
from modelwright_plugins.format.onnx_session import open_session

pytest.importorskip("onnxruntime", reason="needs onnxruntime")


def test_operators_on_the_cpu_are_named(tiny_onnx: Model) -> None:
    session = open_session(tiny_onnx, Target(threads=1))
    require_assigned(session, "CPUExecutionProvider", "here")
    with pytest.raises(
        RecipeError, match=r"leaves operators of the graph to the CPU: .*12 MatMul"
    ) as refused:
        require_assigned(session, "CUDAExecutionProvider", "here")
    assert "half precision" in str(refused.value.hint)
    # Shapes and masks are worked out on the CPU whatever the provider.
    assert "Unsqueeze" not in refused.value.what
