from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from modelwright.api.model import Model, ModelSpec
from modelwright.api.target import Target
from modelwright.errors import MissingError, RecipeError
from modelwright_plugins.format.openvino import OpenVINO
from modelwright_plugins.format.openvino_ir import read_graph
from tests.plugins.tiny_bert import save_tiny_bert

pytest.importorskip("openvino", reason="needs openvino")

DIM = 8


@pytest.fixture
def model(tmp_path: Path) -> Model:
    """Token vectors looked up in a table, as a graph made by hand; the tokenizer is a real one."""
    from modelwright_plugins.format.openvino_offline import import_openvino

    ov = import_openvino()
    from openvino import opset13 as ops

    checkpoint = save_tiny_bert(tmp_path / "checkpoint")
    folder = tmp_path / "model"
    folder.mkdir()
    table = np.random.default_rng(0).normal(size=(400, DIM)).astype(np.float32)
    ids = ops.parameter([-1, -1], np.int64, name="input_ids")
    ids.output(0).set_names({"input_ids"})
    axis = ops.constant(np.int64(0))
    vectors = ops.gather(ops.constant(table, name="table"), ids, axis)
    shifted = ops.matmul(vectors, ops.constant(np.eye(DIM, dtype=np.float32), name="weight"), False, False)
    shifted.output(0).set_names({"last_hidden_state"})
    ov.save_model(ov.Model([shifted], [ids]), folder / "openvino_model.xml", compress_to_fp16=False)
    (folder / "tokenizer.json").write_bytes((checkpoint.path / "tokenizer.json").read_bytes())
    spec = checkpoint.spec.model_copy(update={"format": "openvino"})
    spec.write(folder)
    return Model.open(folder)


def respecified(model: Model, **changes: object) -> Model:
    return Model(model.path, ModelSpec.model_validate(model.spec.model_dump() | changes), model.digest)


def table_of(model: Model) -> np.ndarray:
    constant = next(c for c in read_graph(model.path).constants if c.shape == (400, DIM))
    data = (model.path / "openvino_model.bin").read_bytes()[constant.offset : constant.offset + constant.size]
    return np.frombuffer(data, np.float32).reshape(constant.shape)


def test_size_and_operators_come_from_the_files(model: Model) -> None:
    size = OpenVINO().size(model.path)
    assert size.parameters == 400 * DIM + DIM * DIM
    assert size.weight_bytes == 4 * size.parameters
    assert OpenVINO().graph_operators(model) == {"Gather": 1, "MatMul": 1}


def test_reading_a_folder_does_not_import_the_runtime(model: Model) -> None:
    code = (
        "import sys; from pathlib import Path; from modelwright_plugins.format.openvino import OpenVINO;"
        f"p = Path({str(model.path)!r}); OpenVINO().check(p, deep=True); OpenVINO().size(p);"
        "assert 'openvino' not in sys.modules and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})


def test_check_accepts_a_whole_folder(model: Model) -> None:
    OpenVINO().check(model.path, deep=True)


def test_a_missing_graph_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="has no graph") as caught:
        OpenVINO().check(tmp_path)
    assert caught.value.accepted == "openvino_model.xml"


def test_a_graph_cut_short_is_refused(model: Model) -> None:
    file = model.path / "openvino_model.xml"
    file.write_bytes(file.read_bytes()[:900])
    with pytest.raises(RecipeError, match="damaged or cut short"):
        OpenVINO().check(model.path)


def test_weights_cut_short_are_refused_with_both_sizes(model: Model) -> None:
    file = model.path / "openvino_model.bin"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(RecipeError, match=r"1,000 bytes of 13,\d{3}"):
        OpenVINO().check(model.path)
    file.unlink()
    with pytest.raises(RecipeError, match="0 bytes of"):
        OpenVINO().check(model.path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_deep_check_finds_what_is_not_finite(model: Model, value: float) -> None:
    constant = next(c for c in read_graph(model.path).constants if c.shape == (400, DIM))
    file = model.path / "openvino_model.bin"
    data = bytearray(file.read_bytes())
    data[constant.offset + 12 : constant.offset + 16] = np.float32(value).tobytes()
    file.write_bytes(data)
    OpenVINO().check(model.path)
    with pytest.raises(RecipeError, match="1 values that are NaN or infinite, first in 'table'"):
        OpenVINO().check(model.path, deep=True)


def test_embeddings_are_the_pooled_vectors_in_the_order_given(model: Model) -> None:
    model = respecified(model, details={"inference_precision": "f32"})
    runner = OpenVINO().runner(model, Target(threads=1))
    texts = ["open the file", "a", "read the value of each item in the list and close the file"]
    rows = runner.run(texts, batch_size=2)
    for text, row in zip(texts, rows, strict=True):
        ids = runner.tokenizer([text])["input_ids"][0]
        np.testing.assert_allclose(row, table_of(model)[ids].mean(axis=0), atol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
def test_a_result_is_not_overwritten_by_the_next_call(model: Model, pooling: str) -> None:
    runner = OpenVINO().runner(respecified(model, pooling=pooling), Target(threads=1))
    first = runner.infer(runner.sample(2, 6, seed=1))
    kept = first.copy()
    runner.infer(runner.sample(2, 6, seed=2))
    np.testing.assert_array_equal(first, kept)


def test_describe_says_what_really_runs(model: Model) -> None:
    pinned = OpenVINO().runner(respecified(model, details={"inference_precision": "f32"}), Target(threads=1))
    said = pinned.describe()
    assert said["runtime"].startswith("OpenVINO 2026.4")
    assert said["device"] == "CPU"
    assert said["threads"] == "1"
    assert said["precision"] == "f32"
    assert said["layers"] == "1 FullyConnected f32"
    left = OpenVINO().runner(model, Target(threads=1)).describe()
    assert left["layers"] == f"1 FullyConnected {left['precision']}"


def test_cuda_is_refused(model: Model) -> None:
    with pytest.raises(MissingError, match="serves the CPU here, not 'cuda'"):
        OpenVINO().runner(model, Target(device="cuda"))


def test_the_runtime_is_imported_without_telemetry(tmp_path: Path) -> None:
    code = (
        "import sys; from modelwright_plugins.format.openvino_offline import import_openvino;"
        "import_openvino(); assert sys.modules['openvino_telemetry'] is None"
    )
    env = {"PYTHONPATH": ":".join(sys.path), "HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=env)
    assert not list(tmp_path.iterdir()), "something was written into the home folder"
