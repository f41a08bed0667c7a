from __future__ import annotations

import pytest
from pydantic import ValidationError

from modelwright.errors import RecipeError
from modelwright_plugins.compile.tensorrt import CompileTensorRT
from modelwright_plugins.tensorrt.profile import require_known, shapes_of


def test_shapes_are_the_sizes_of_their_dimensions() -> None:
    profile = {"batch": (1, 8, 32), "length": (2, 64, 512)}
    assert shapes_of(profile, "input_ids", ["batch", "length"], "where") == ((1, 2), (8, 64), (32, 512))
    assert shapes_of(profile, "past", ["batch", 4, "length"], "where")[2] == (32, 4, 512)


@pytest.mark.parametrize("sizes", [[2, 1, 4], [1, 5, 4], [-1, 1, 4], [1, 2], [1.5, 2, 3]])
def test_sizes_that_are_out_of_order_are_refused(sizes: list[float]) -> None:
    with pytest.raises(ValidationError):
        CompileTensorRT.model_validate({"profiles": [{"batch": sizes}]})


def test_dimensions_that_are_open_or_unknown_are_refused() -> None:
    with pytest.raises(RecipeError, match="no sizes of the dimension 'length' of the input 'input_ids'"):
        shapes_of({"batch": (1, 1, 1)}, "input_ids", ["batch", "length"], "where")
    with pytest.raises(RecipeError, match="no dynamic dimension 'width'") as refused:
        require_known({"width": (1, 1, 1)}, ["batch", "length"], "where")
    assert refused.value.accepted == "batch, length"
