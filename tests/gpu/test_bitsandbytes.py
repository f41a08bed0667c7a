"""bitsandbytes on CUDA: what is saved is what ran, and loads back to the same outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelwright.api.model import Model
from modelwright.api.runner import GenerationRunner
from modelwright.api.target import Target
from tests.gpu.stages import CPU, CUDA, apply, stage

pytest.importorskip("bitsandbytes", reason="needs bitsandbytes")

KINDS: dict[str, dict[str, Any]] = {
    "int8": {"kind": "int8"},
    "nf4": {"kind": "nf4", "compute_dtype": "bf16"},
    "nf4 double": {"kind": "nf4", "double_quantization": True, "compute_dtype": "fp16"},
    "fp4": {"kind": "fp4"},
}


def logits(model: Model, target: Target) -> np.ndarray:
    from modelwright_plugins.format.bitsandbytes import BitsAndBytes
    from modelwright_plugins.format.torch import Torch

    form = Torch() if model.spec.format == "torch" else BitsAndBytes()
    runner = form.runner(model, target)
    assert isinstance(runner, GenerationRunner)
    assert str(runner.describe()["device"]).startswith(target.device)
    return runner.logits(runner.sample(2, 24, seed=3))


@pytest.mark.parametrize("name", KINDS)
def test_a_checkpoint_runs_wherever_it_was_made(name: str, reference_lm: Model, tmp_path: Path) -> None:
    quantize = stage("quantize.bitsandbytes", **KINDS[name])
    found, _ = apply(quantize, reference_lm, tmp_path / "cuda")
    on_cpu, _ = apply(quantize, reference_lm, tmp_path / "cpu", CPU)
    ran = logits(found, CUDA)
    np.testing.assert_array_equal(ran, logits(found, CUDA))
    # Quantized on the CPU to run on the GPU, and the other way: the same grid, other roundings.
    for other in (logits(on_cpu, CUDA), logits(found, CPU)):
        assert np.linalg.norm(other - ran) < 0.05 * np.linalg.norm(ran)
    exact = logits(reference_lm, CUDA)
    assert 1e-4 < np.linalg.norm(ran - exact) / np.linalg.norm(exact) < 0.3


@pytest.mark.parametrize(
    "settings",
    [{"load_in_8bit": True}, {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}],
    ids=["int8", "nf4"],
)
def test_what_is_loaded_is_what_was_in_memory(
    settings: dict[str, Any], reference_lm: Model, tmp_path: Path
) -> None:
    import torch
    from transformers import BitsAndBytesConfig

    from modelwright_plugins.format.torch import load_checkpoint

    network = load_checkpoint(reference_lm, device_map="cuda", quantization=BitsAndBytesConfig(**settings))
    network.save_pretrained(tmp_path / "saved")
    again = load_checkpoint(reference_lm, device_map="cuda", read_from=tmp_path / "saved")
    ids = torch.arange(48, device="cuda").reshape(2, 24)
    with torch.inference_mode():
        torch.testing.assert_close(again(ids).logits, network(ids).logits, rtol=0, atol=0)
