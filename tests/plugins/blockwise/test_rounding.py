"""Grids and codes: on the grid, in the range, and better than rounding each weight by itself."""

from __future__ import annotations

from typing import Any

import pytest

from modelwright_plugins.blockwise.grids import Grid, fitted_grid
from modelwright_plugins.blockwise.rounding import Rounding, Scheme, round_to_nearest
from modelwright_plugins.blockwise.second_order import solve

torch = pytest.importorskip("torch", reason="needs torch")


def problem(outputs: int = 24, inputs: int = 96) -> tuple[Any, Any]:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(outputs, inputs, generator=generator)
    rows = torch.randn(500, inputs, generator=generator) @ torch.randn(inputs, inputs, generator=generator)
    return weight, rows.T @ rows / len(rows)


def output_error(change: Any, hessian: Any) -> float:
    return float(((change @ hessian) * change).sum())


def run(scheme: Scheme, **options: Any) -> tuple[Any, Any, Any]:
    """The original, what the solver made of it, and its codes."""
    weight, hessian = problem()
    order = hessian.diagonal().argsort(descending=True) if options.pop("act_order", False) else None
    options = {"static": False, **options}
    rounding = Rounding(weight, hessian.diagonal(), scheme, order=order, **options)
    found = weight.clone()
    solve(found, hessian, rounding, damping=0.01, where="damping", span=scheme.span(), order=order)
    return weight, found, rounding.codes


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("group", [8, 32, 96, None])
def test_codes_stand_for_the_weights_and_err_less_than_rounding(
    bits: int, group: int | None, symmetric: bool
) -> None:
    scheme = Scheme(bits, group, symmetric, torch.float32)
    weight, found, codes = run(scheme)
    torch.testing.assert_close(codes.decode(), found)
    half = 2 ** (bits - 1)
    assert int(codes.codes.min()) >= -half
    assert int(codes.codes.max()) < half
    assert codes.scales.shape == (24, 96 // (group or 96))
    assert symmetric == bool((codes.zeros == 0).all())
    hessian = problem()[1]
    nearest = round_to_nearest(weight, hessian.diagonal(), scheme).decode()
    assert output_error(found - weight, hessian) < 0.8 * output_error(nearest - weight, hessian)


@pytest.mark.parametrize("options", [{"act_order": True}, {"static": True}], ids=["act_order", "static"])
def test_static_grids_are_those_of_rounding_to_nearest(options: dict[str, Any]) -> None:
    scheme = Scheme(3, 16, False, torch.float32)
    weight, found, codes = run(scheme, **options)
    hessian = problem()[1]
    nearest = round_to_nearest(weight, hessian.diagonal(), scheme)
    assert torch.equal(codes.scales, nearest.scales)
    assert torch.equal(codes.zeros, nearest.zeros)
    torch.testing.assert_close(codes.decode(), found)
    assert output_error(found - weight, hessian) < 0.8 * output_error(nearest.decode() - weight, hessian)


@pytest.mark.parametrize("symmetric", [True, False])
def test_zeros_of_a_sparse_matrix_stay(symmetric: bool) -> None:
    weight, hessian = problem()
    zeros = torch.rand(weight.shape, generator=torch.Generator().manual_seed(1)) < 0.5
    weight[zeros] = 0
    scheme = Scheme(4, 32, symmetric, torch.float32)
    rounding = Rounding(weight, hessian.diagonal(), scheme, order=None, static=False, zeros=zeros)
    found = weight.clone()
    solve(found, hessian, rounding, damping=0.01, where="damping", span=scheme.span())
    assert (found[zeros] == 0).all()
    torch.testing.assert_close(rounding.codes.decode(), found)
    nearest = round_to_nearest(weight, hessian.diagonal(), scheme).decode()
    assert output_error(found - weight, hessian) < output_error(nearest - weight, hessian)


def test_scales_are_those_that_storage_gives_back() -> None:
    scheme = Scheme(4, 32, True, torch.bfloat16)
    _, found, codes = run(scheme)
    assert torch.equal(codes.scales, codes.scales.to(torch.bfloat16).float())
    torch.testing.assert_close(codes.decode(), found)


def test_a_grid_clips_what_is_not_worth_its_range() -> None:
    values = torch.randn(1, 512, generator=torch.Generator().manual_seed(0))
    values[0, 0] = 12.0
    fields = {"symmetric": True, "stored": torch.float32}
    even = fitted_grid(values, torch.ones(512), 3, **fields)
    assert float(even.scale) < 12.0 / 3 * 0.6
    important = torch.ones(512)
    important[0] = 1e4
    whole = fitted_grid(values, important, 3, **fields)
    assert float(whole.scale) == pytest.approx(12.0 / 3, rel=0.05)


@pytest.mark.parametrize("values", [torch.zeros(1, 8), torch.full((1, 8), 3.0), torch.full((1, 8), -3.0)])
@pytest.mark.parametrize("symmetric", [True, False])
def test_groups_of_one_value_are_held_well(values: Any, symmetric: bool) -> None:
    found = fitted_grid(values, torch.ones(8), 4, symmetric=symmetric, stored=torch.float32)
    grid = Grid(found.scale[:, None], found.zero[:, None], 4)
    torch.testing.assert_close(grid.decode(grid.encode(values)), values, rtol=0.04, atol=1e-6)
