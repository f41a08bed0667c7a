"""Runners on the GPU give what they give on the CPU, in the provider that was asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from modelwright.api.metric import MetricContext
from modelwright.api.model import Model
from modelwright.api.runner import GenerationRunner
from modelwright.planning.gpu import gpu_memory, gpus
from modelwright.process.nvml import clock
from modelwright_plugins.format.onnx import Onnx
from modelwright_plugins.format.torch import Torch
from modelwright_plugins.metric.memory import Memory
from tests.gpu.stages import CPU, CUDA, apply, stage


def test_pytorch_gives_the_same_logits(reference_lm: Model) -> None:
    runners = [Torch().runner(reference_lm, target) for target in (CPU, CUDA)]
    rows = []
    for runner in runners:
        assert isinstance(runner, GenerationRunner)
        rows.append(runner.logits(runner.sample(2, 48, seed=1)))
    np.testing.assert_allclose(rows[1], rows[0], rtol=1e-3, atol=2e-3)


def test_the_peak_of_the_gpu_is_measured(reference_lm: Model) -> None:
    runner = Torch().runner(reference_lm, CUDA)
    metric = Memory(batch=1, length=64)
    found = next(metric.observe(reference_lm, runner, MetricContext(CUDA, 0, Torch(), {})))
    weights = Torch().size(reference_lm.path).weight_bytes
    assert found["cuda_reserved_bytes"] >= found["cuda_bytes"] > weights


def test_memory_that_the_driver_hands_out_is_measured(reference_lm: Model) -> None:
    torch = pytest.importorskip("torch", reason="needs torch")
    runner = Torch().runner(reference_lm, CUDA)
    before = gpu_memory()
    held = torch.zeros(2**32, dtype=torch.uint8, device="cuda")
    metric = Memory(batch=1, length=64)
    found = next(metric.observe(reference_lm, runner, MetricContext(CUDA, 0, Torch(), {}, before)))
    # Other tests may run on the GPU at the same time.
    assert held.nbytes // 2 < found["gpu_bytes"] < 3 * held.nbytes


def test_the_gpu_tells_its_clock() -> None:
    found = clock(gpus()[0].bus)
    assert found is not None
    assert 0 < found.now <= found.most


@pytest.mark.parametrize("dtype", ["fp32", "fp16"])
@pytest.mark.parametrize("kind", ["encoder", "classifier"])
def test_onnxruntime_runs_on_cuda(
    kind: str, dtype: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    pytest.importorskip("onnxscript", reason="needs the export extra")
    ort = pytest.importorskip("onnxruntime", reason="needs onnxruntime-gpu")
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        pytest.skip("needs onnxruntime-gpu")
    model: Model = request.getfixturevalue(kind)
    cast, _ = apply(stage("cast.dtype", dtype=dtype), model, tmp_path / "cast")
    exported, _ = apply(stage("export.onnx", opset=23), cast, tmp_path / "onnx")
    graphs = [exported]
    if dtype == "fp16":
        by_lengths = stage("compile.onnxruntime", variant="lengths")
        graphs.append(apply(by_lengths, exported, tmp_path / "lengths")[0])
    exact, texts = Torch().runner(model, CPU), ["a text", "another text that is longer than the first"]
    for graph in graphs:
        runner = Onnx().runner(graph, CUDA)
        assert runner.describe()["provider"] == "CUDAExecutionProvider"
        found, wanted = (each.run(texts) for each in (runner, exact))
        np.testing.assert_allclose(found, wanted, rtol=0.02, atol=1e-3 if dtype == "fp32" else 2e-2)
