"""Compression on the GPU comes to what it comes to on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modelwright.api.model import Model
from tests.gpu.stages import CPU, CUDA, apply, stage, tensors
from tests.plugins.stage_context import FolderContext

torch = pytest.importorskip("torch", reason="needs torch")

PIECES = {"data": "docs", "samples": 8, "length": 64}
PRUNED: dict[str, tuple[str, dict[str, Any]]] = {
    "magnitude": ("prune.magnitude", {"sparsity": 0.5, "scope": "global"}),
    "wanda": ("prune.wanda", {"sparsity": 0.5, **PIECES}),
    "wanda 2:4": ("prune.wanda", {"pattern": "2:4", **PIECES}),
    "sparsegpt": ("prune.sparsegpt", {"sparsity": 0.5, **PIECES}),
    "sparsegpt 2:4": ("prune.sparsegpt", {"pattern": "2:4", **PIECES}),
}
ROUNDED: dict[str, dict[str, Any]] = {
    "4 bits": {"bits": 4},
    "act order": {"bits": 3, "act_order": True},
    "asymmetric": {"bits": 4, "symmetric": False},
}
CUT: dict[str, dict[str, Any]] = {
    importance: {"importance": importance, "heads": 0.5, "neurons": 0.25, "width": 0.25}
    for importance in ("magnitude", "activation", "taylor")
} | {"layers": {"layers": 1}}


def on_both(
    use: str, fields: dict[str, Any], model: Model, folder: Path
) -> list[tuple[Model, FolderContext]]:
    """What comes of the CPU, and what of the GPU."""
    return [apply(stage(use, **fields), model, folder / target.device, target) for target in (CPU, CUDA)]


@pytest.mark.parametrize("name", PRUNED)
def test_the_same_weights_go(name: str, reference_lm: Model, tmp_path: Path) -> None:
    expected, found = (tensors(made) for made, _ in on_both(*PRUNED[name], reference_lm, tmp_path))
    assert {*expected} == {*found}
    for key, tensor in expected.items():
        # Scores that differ by a rounding may fall to the other side of a threshold.
        assert float(((tensor == 0) == (found[key] == 0)).float().mean()) > 0.98, key


@pytest.mark.parametrize("name", ROUNDED)
def test_rounding_loses_as_much(name: str, reference_lm: Model, tmp_path: Path) -> None:
    pytest.importorskip("compressed_tensors", reason="needs the compressed-tensors extra")
    fields = {"group_size": 32, **PIECES, **ROUNDED[name]}
    expected, found = (ctx for _, ctx in on_both("quantize.gptq", fields, reference_lm, tmp_path))
    # A rounding to the other side is made up for by all that follow: codes differ, and errors do not.
    for one, other in zip(expected.records["errors"], found.records["errors"], strict=True):  # type: ignore[arg-type]
        assert other["error"] == pytest.approx(one["error"], rel=0.1)  # type: ignore[index, call-overload]
        assert other["error"] < other["error_rounded_to_nearest"]  # type: ignore[index, call-overload, operator]


def test_rounding_to_nearest_gives_the_same_codes(reference_lm: Model, tmp_path: Path) -> None:
    pytest.importorskip("compressed_tensors", reason="needs the compressed-tensors extra")
    fields = {"bits": 4, "group_size": 32, "method": "rtn"}
    expected, found = (tensors(made) for made, _ in on_both("quantize.gptq", fields, reference_lm, tmp_path))
    for key, tensor in expected.items():
        # Sums of another order: a scale may differ in its last bits, and a weight between two codes with it.
        same = torch.isclose(tensor.float(), found[key].float(), rtol=1e-4)
        assert float(same.float().mean()) > 0.999, key


@pytest.mark.parametrize("name", CUT)
@pytest.mark.parametrize("kind", ["llama", "encoder"])
def test_the_same_units_stay(name: str, kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    fields = {key: value for key, value in CUT[name].items() if kind == "llama" or key != "heads"}
    model: Model = request.getfixturevalue(kind)
    fields = {"data": "docs", "samples": 16, "length": 32, **fields}
    expected, found = (tensors(made) for made, _ in on_both("prune.structured", fields, model, tmp_path))
    for key, tensor in expected.items():
        torch.testing.assert_close(found[key], tensor, rtol=1e-3, atol=1e-5)
