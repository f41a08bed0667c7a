"""What a target says of a GPU holds in every runtime: options, memory, graphs; and nothing falls back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from modelwright.api.model import Model
from modelwright.api.runner import GenerationRunner
from modelwright.api.target import Target
from modelwright.errors import RecipeError
from modelwright.planning.gpu import driver, gpus
from modelwright_plugins.format.onnx import Onnx
from modelwright_plugins.format.onnx_runner import OnnxRunner
from modelwright_plugins.format.torch import Torch
from tests.gpu.stages import CPU, CUDA, apply, stage

ort = pytest.importorskip("onnxruntime", reason="needs onnxruntime-gpu")
pytest.importorskip("onnxscript", reason="needs the export extra")


@pytest.fixture(autouse=True, scope="module")
def _cuda_provider() -> None:
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        pytest.skip("needs onnxruntime-gpu")


def changed(**fields: object) -> Target:
    return Target.model_validate({**CUDA.model_dump(), **fields})


@pytest.fixture(scope="module")
def half(encoder: Model, tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("half")
    cast, _ = apply(stage("cast.dtype", dtype="fp16"), encoder, folder / "cast")
    return apply(stage("export.onnx", opset=23), cast, folder / "onnx")[0]


def test_driver_and_runtimes_are_found() -> None:
    found = driver()
    assert found is not None
    assert found.version.count(".") >= 1
    assert float(found.cuda) >= 12
    assert float(gpus()[0].compute_capability) >= 7
    for format_ in (Torch, Onnx):
        [runtime] = format_.gpu_runtimes()
        assert runtime.problem is None, runtime


def test_shapes_that_come_back_are_replayed_as_graphs(half: Model) -> None:
    runner, plain = (Onnx().runner(half, target) for target in (changed(graph_capture=True), CUDA))
    assert isinstance(runner, OnnxRunner)
    for length in (16, 32):
        for seed in range(6):
            inputs = runner.sample(2, length, seed=seed)
            np.testing.assert_allclose(runner.infer(inputs), plain.infer(inputs), rtol=0.02, atol=1e-2)
    assert runner.describe()["CUDA graphs"] == "2x16, 2x32"


def test_options_reach_the_provider_and_unknown_ones_are_refused(half: Model) -> None:
    runner = Onnx().runner(half, changed(provider_options={"use_tf32": "0"}, memory_limit="2GiB"))
    assert isinstance(runner, OnnxRunner)
    options = runner._session.get_provider_options()["CUDAExecutionProvider"]
    assert (options["use_tf32"], options["gpu_mem_limit"]) == ("0", str(2 * 2**30))
    with pytest.raises(RecipeError, match="no_such_option"):
        Onnx().runner(half, changed(provider_options={"no_such_option": "1"}))


def test_pytorch_stays_within_the_limit(reference_lm: Model) -> None:
    import torch

    Torch().runner(reference_lm, changed(memory_limit="1GiB"))
    try:
        with pytest.raises(torch.cuda.OutOfMemoryError):
            torch.empty(2 * 2**30, dtype=torch.uint8, device="cuda")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def test_operators_without_a_kernel_are_no_slow_success(encoder: Model, tmp_path: Path) -> None:
    exported, _ = apply(stage("export.onnx", opset=23), encoder, tmp_path / "onnx")
    dynamic, _ = apply(stage("quantize.onnx_dynamic"), exported, tmp_path / "int8", CPU)
    with pytest.raises(RecipeError, match=r"leaves operators .* to the CPU: .*DynamicQuantize"):
        Onnx().runner(dynamic, CUDA)


def test_a_model_in_4_bits_generates_what_it_does_on_the_cpu(reference_lm: Model, tmp_path: Path) -> None:
    cast, _ = apply(stage("cast.dtype", dtype="fp16"), reference_lm, tmp_path / "cast")
    exported, _ = apply(stage("export.onnx", opset=23), cast, tmp_path / "onnx")
    quantize = stage("quantize.onnx_weight_only", method="rtn", bits=4, block_size=32)
    quantized, _ = apply(quantize, exported, tmp_path / "int4")
    fused, _ = apply(stage("compile.onnxruntime", variant="fused"), quantized, tmp_path / "fused")
    runner, exact = (Onnx().runner(fused, target) for target in (CUDA, CPU))
    assert isinstance(runner, GenerationRunner)
    assert isinstance(exact, GenerationRunner)
    # Keys and values stay on the GPU, in one buffer that attention appends to.
    assert runner.describe()["cache"] == "shared"
    recorded = Onnx().runner(fused, changed(graph_capture=True))
    assert isinstance(recorded, GenerationRunner)
    inputs = exact.sample(2, 48, seed=1)
    texts = ["Return a list of", "The name of the file"]
    for each in (runner, recorded):
        np.testing.assert_allclose(each.logits(inputs), exact.logits(inputs), rtol=0.05, atol=0.3)
        for _ in range(3):
            assert each.generate(texts, 12) == exact.generate(texts, 12)
    assert "2x1 of 64" in recorded.describe()["CUDA graphs"]
    assert "ran without" not in recorded.describe()["CUDA graphs"]
