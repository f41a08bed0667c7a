from __future__ import annotations

import numpy as np
import pytest

from modelwright_plugins.weight_only.blocks import BlockWeight, blocks_of, encode
from modelwright_plugins.weight_only.gptq import gptq
from modelwright_plugins.weight_only.grid import Grid, range_grid
from modelwright_plugins.weight_only.hqq import half_quadratic
from modelwright_plugins.weight_only.k_quant import k_quant
from modelwright_plugins.weight_only.rtn import round_to_nearest

pytest.importorskip("onnxruntime", reason="needs onnxruntime")

INPUTS, OUTPUTS = 200, 96
EVERY = [(bits, block, symmetric) for bits in (4, 8) for block in (16, 64) for symmetric in (True, False)]
ids = "{}-bits blocks of {} symmetric {}".format
every = pytest.mark.parametrize(("bits", "block", "symmetric"), EVERY, ids=[ids(*case) for case in EVERY])


@pytest.fixture(scope="module")
def weight() -> np.ndarray:
    """As in a trained layer: heavy tails, and outputs that are not centred."""
    rng = np.random.default_rng(0)
    return (rng.standard_t(4, (INPUTS, OUTPUTS)) * 0.05 + rng.normal(0, 0.02, OUTPUTS)).astype(np.float32)


@pytest.fixture(scope="module")
def activations() -> np.ndarray:
    """Correlated inputs, a few of great energy."""
    rng = np.random.default_rng(1)
    mixing = rng.standard_normal((40, INPUTS)) * np.exp(rng.standard_normal(INPUTS))
    return (rng.standard_normal((600, 40)) @ mixing + rng.standard_normal((600, INPUTS)) * 0.3).astype(
        np.float32
    )


def spread(difference: np.ndarray) -> float:
    return float(np.sqrt((difference**2).mean()))


@every
def test_what_is_packed_is_what_was_rounded(
    weight: np.ndarray, bits: int, block: int, symmetric: bool
) -> None:
    values = blocks_of(weight, block)
    rows = values.reshape(-1, block)
    grid = range_grid(rows, bits, symmetric=symmetric)
    codes = encode(rows, grid.scales, grid.zeros, bits).reshape(values.shape)
    zeros = None if symmetric else grid.zeros.reshape(values.shape[:2]).astype(np.uint8)
    packed = BlockWeight.pack(codes, grid.scales.reshape(values.shape[:2]), zeros, bits=bits, inputs=INPUTS)
    expected = grid.nearest(rows).reshape(OUTPUTS, -1)[:, :INPUTS]
    assert np.array_equal(packed.codes(), codes)
    assert np.array_equal(packed.dequantize(), expected)
    assert packed.block_size == block
    assert packed.packed.shape == (OUTPUTS, -(-INPUTS // block), block * bits // 8)


@every
def test_the_range_grid_is_onnx_runtimes(weight: np.ndarray, bits: int, block: int, symmetric: bool) -> None:
    ours = range_grid(blocks_of(weight, block).reshape(-1, block), bits, symmetric=symmetric)
    theirs = round_to_nearest(weight, bits, block, symmetric=symmetric)
    assert np.allclose(theirs.scales.ravel(), ours.scales.ravel(), rtol=1e-5)
    # A tie may be rounded either way.
    assert np.mean(theirs.zeros().ravel() != ours.zeros.ravel()) < 0.01
    assert spread(theirs.dequantize().T - weight) < np.abs(theirs.scales).max()


@every
def test_searched_grids_have_the_smaller_weight_error(
    weight: np.ndarray, bits: int, block: int, symmetric: bool
) -> None:
    nearest = spread(round_to_nearest(weight, bits, block, symmetric=symmetric).dequantize().T - weight)
    for method in (k_quant, half_quadratic):
        assert spread(method(weight, bits, block, symmetric=symmetric).dequantize().T - weight) < nearest


@every
def test_gptq_has_the_smaller_output_error(
    weight: np.ndarray, activations: np.ndarray, bits: int, block: int, symmetric: bool
) -> None:
    seen, unseen = activations[:400], activations[400:]
    hessian = seen.T.astype(np.float64) @ seen
    nearest = round_to_nearest(weight, bits, block, symmetric=symmetric)
    expected = spread(unseen @ (nearest.dequantize().T - weight))
    for act_order in (False, True):
        found = gptq(weight, hessian, bits, block, symmetric=symmetric, act_order=act_order)
        assert spread(unseen @ (found.dequantize().T - weight)) < 0.7 * expected


def test_gptq_equals_the_search_where_inputs_do_not_correlate(weight: np.ndarray) -> None:
    found = gptq(weight, np.eye(INPUTS) * 7, 4, 32, symmetric=False)
    error = spread(found.dequantize().T - weight)
    nearest = spread(round_to_nearest(weight, 4, 32, symmetric=False).dequantize().T - weight)
    assert error < nearest


def test_inputs_that_never_occur_leave_finite_weights(weight: np.ndarray, activations: np.ndarray) -> None:
    quiet = activations.copy()
    quiet[:, ::3] = 0
    found = gptq(weight, quiet.T.astype(np.float64) @ quiet, 4, 32, symmetric=False).dequantize().T
    assert np.isfinite(found).all()
    assert spread(quiet @ (found - weight)) < 0.1 * spread(quiet @ weight)


@pytest.mark.parametrize("method", [round_to_nearest, k_quant, half_quadratic])
def test_blocks_of_zeros_stay_zero(method: object) -> None:
    weight = np.zeros((64, 8), np.float32)
    weight[32:, 4:] = 1.5
    for symmetric in (True, False):
        found = method(weight, 4, 32, symmetric=symmetric).dequantize().T  # type: ignore[operator]
        assert np.isfinite(found).all()
        assert np.allclose(found, weight, atol=1e-6)


def test_a_grid_rounds_to_its_nearest_value() -> None:
    grid = Grid(np.float32([[0.5]]), np.float32([[3]]), 4)
    values = np.float32([[-9, -0.6, 0.2, 0.3, 99]])
    assert grid.nearest(values).tolist() == [[-1.5, -0.5, 0.0, 0.5, 6.0]]
