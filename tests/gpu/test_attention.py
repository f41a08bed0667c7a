"""The kernels behind PyTorch's attention on a GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelwright.api.model import Model
from modelwright.api.runner import GenerationRunner
from modelwright.errors import StageError
from modelwright_plugins.format.torch import Torch
from tests.gpu.stages import CPU, CUDA, apply, stage


def selected(model: Model, folder: Path, dtype: str, **fields: Any) -> tuple[Model, dict[str, Any]]:
    cast, _ = apply(stage("cast.dtype", dtype=dtype), model, folder / "cast")
    result, ctx = apply(stage("attention.select", **fields), cast, folder / "select")
    record = ctx.records["attention"]
    assert isinstance(record, dict)
    return result, record


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_half_precision_is_computed_by_flash_attention(
    dtype: str, reference_lm: Model, tmp_path: Path
) -> None:
    _, record = selected(reference_lm, tmp_path, dtype, require="flash", padded=False)
    assert record["kernels"] in ("flash in 5 layers", "cudnn in 5 layers")
    # A mask of padding is not for flash attention's kernel.
    assert not str(record["kernels, padded"]).startswith("flash")


def test_float32_has_no_flash_attention(reference_lm: Model, tmp_path: Path) -> None:
    with pytest.raises(StageError, match="Attention is computed by "):
        selected(reference_lm, tmp_path, "fp32", require="flash", padded=False)


@pytest.mark.parametrize("name", ["eager", "sdpa", "flex_attention", "flash_attention_2"])
def test_every_attention_gives_the_same_logits(name: str, reference_lm: Model, tmp_path: Path) -> None:
    result, record = selected(reference_lm, tmp_path, "bf16", implementation=name)
    runner, exact = Torch().runner(result, CUDA), Torch().runner(reference_lm, CPU)
    assert runner.describe()["attention"] == record["used"]
    assert (record["used"] == name) == ("replaced because" not in record)
    assert isinstance(runner, GenerationRunner)
    assert isinstance(exact, GenerationRunner)
    inputs = exact.sample(2, 48, seed=1)
    found, wanted = runner.logits(inputs), exact.logits(inputs)
    np.testing.assert_allclose(found, wanted, rtol=0.05, atol=0.3)
    assert (found.argmax(-1) == wanted.argmax(-1)).mean() > 0.95
