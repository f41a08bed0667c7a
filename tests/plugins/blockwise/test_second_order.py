"""The solver against what it approximates: least squares over the weights that stay free."""

from __future__ import annotations

from typing import Any

import pytest

from modelwright.errors import StageError
from modelwright_plugins.blockwise.second_order import inverse_factor, solve

torch = pytest.importorskip("torch", reason="needs torch")


class Zeroed:
    """Sets some columns to zero and leaves the others."""

    def __init__(self, gone: set[int]) -> None:
        self.gone = gone
        self.spans: list[tuple[int, int]] = []

    def begin(self, start: int, columns: Any, spread: Any) -> None:
        self.spans.append((start, columns.shape[1]))

    def column(self, index: int, ahead: Any) -> Any:
        return torch.zeros(len(ahead)) if index in self.gone else ahead[:, 0]


def problem(inputs: int, seed: int = 0) -> tuple[Any, Any, Any]:
    """A matrix, correlated inputs [tokens, inputs] and the mean of their outer products."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(9, inputs, generator=generator)
    mixing = torch.randn(inputs, inputs, generator=generator)
    rows = torch.randn(400, inputs, generator=generator) @ mixing
    return weight, rows, rows.T @ rows / len(rows)


@pytest.mark.parametrize("span", [4, 5, 128])
def test_columns_that_go_first_are_made_up_for_as_least_squares_would(span: int) -> None:
    weight, rows, hessian = problem(12)
    gone, kept = [0, 1, 2], list(range(3, 12))
    # What the other columns have to be for the outputs to stay: exact, without damping.
    targets = rows.double() @ weight.double().T
    expected = torch.linalg.lstsq(rows[:, kept].double(), targets).solution.T
    found = weight.clone()
    error = solve(found, hessian, Zeroed(set(gone)), damping=1e-9, where="damping", span=span)
    assert (found[:, gone] == 0).all()
    torch.testing.assert_close(found[:, kept].double(), expected, rtol=1e-2, atol=1e-3)
    measured = (rows @ (found - weight).T).square().sum(1).mean()
    assert error == pytest.approx(float(measured), rel=1e-3)
    assert error < 0.7 * float((rows[:, gone] @ weight[:, gone].T).square().sum(1).mean())


def test_spans_do_not_change_the_result() -> None:
    weight, _, hessian = problem(300)
    results = []
    for span in (7, 128, 300):
        projection = Zeroed(set(range(0, 300, 3)))
        found = weight.clone()
        solve(found, hessian, projection, damping=0.01, where="damping", span=span)
        assert projection.spans[-1][0] + projection.spans[-1][1] == 300
        results.append(found)
    torch.testing.assert_close(results[0], results[1], rtol=1e-2, atol=1e-3)
    torch.testing.assert_close(results[0], results[2], rtol=1e-2, atol=1e-3)


def test_an_order_says_which_columns_can_still_make_up_for_others() -> None:
    weight, _, hessian = problem(12)
    order = torch.tensor([11, *range(11)])
    last_first = weight.clone()
    # Place 0 of the order is column 11.
    solve(last_first, hessian, Zeroed({0}), damping=1e-9, where="damping", order=order)
    assert (last_first[:, 11] == 0).all()
    assert not torch.equal(last_first[:, :11], weight[:, :11])
    in_their_own = weight.clone()
    solve(in_their_own, hessian, Zeroed({11}), damping=1e-9, where="damping")
    assert torch.equal(in_their_own[:, :11], weight[:, :11])


def test_inputs_that_never_occurred_bind_nothing() -> None:
    weight, rows, _ = problem(12)
    rows[:, 4] = 0
    hessian = rows.T @ rows / len(rows)
    found = weight.clone()
    solve(found, hessian, Zeroed({4}), damping=0.01, where="damping")
    kept = [index for index in range(12) if index != 4]
    assert torch.equal(found[:, kept], weight[:, kept])


def test_the_factor_is_that_of_the_damped_inverse_and_leaves_the_hessian_alone() -> None:
    _, _, hessian = problem(12)
    before = hessian.double()
    factor = inverse_factor(before, 0.01, "damping").double()
    assert torch.equal(before, hessian.double())
    damped = before + 0.01 * before.diagonal().mean() * torch.eye(12)
    torch.testing.assert_close(factor.T @ factor @ damped, torch.eye(12).double(), rtol=0, atol=1e-3)


def test_a_hessian_without_an_inverse_is_refused() -> None:
    hessian = -torch.eye(3)
    with pytest.raises(StageError, match="has no inverse") as refused:
        inverse_factor(hessian, 0.01, "stages.prune.damping")
    assert refused.value.where == "stages.prune.damping"
