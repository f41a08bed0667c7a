from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from modelwright.api.model import Model
from modelwright.api.target import Target
from modelwright.testing.texts import sentences
from modelwright_plugins.export.openvino import ExportOpenVINO
from modelwright_plugins.format.openvino import OpenVINO
from modelwright_plugins.format.openvino_ir import read_graph
from modelwright_plugins.format.torch import Torch
from tests.plugins.stage_context import FolderContext
from tests.plugins.tiny_bert import save_tiny_bert

pytest.importorskip("openvino", reason="needs openvino")
pytest.importorskip("transformers", reason="needs transformers")

TARGET = Target(threads=1)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return save_tiny_bert(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def exported(checkpoint: Model, tmp_path_factory: pytest.TempPathFactory) -> Model:
    stage = ExportOpenVINO(inference_precision="f32")
    return FolderContext(tmp_path_factory.mktemp("export")).apply(stage, checkpoint)


def test_embeddings_equal_pytorch_at_every_batch_and_length(checkpoint: Model, exported: Model) -> None:
    texts = [*sentences(12, seed=3), "a", " ".join(["file"] * 200)]
    expected = Torch().runner(checkpoint, TARGET).run(texts)
    runner = OpenVINO().runner(exported, TARGET)
    for batch_size in (1, 5):
        np.testing.assert_allclose(runner.run(texts, batch_size), expected, atol=2e-5)


def test_attention_is_one_operator_per_layer(exported: Model) -> None:
    operators = OpenVINO().graph_operators(exported)
    assert operators["ScaledDotProductAttention"] == 2
    assert "Softmax" not in operators


def test_the_pooler_is_left_out(checkpoint: Model, exported: Model) -> None:
    pooler = 32 * 32 + 32
    assert OpenVINO().size(exported.path).parameters == pytest.approx(
        Torch().size(checkpoint.path).parameters - pooler, abs=20
    )
    assert not [c.name for c in read_graph(exported.path).constants if "pooler" in c.name]


def test_operators_are_named_after_the_modules(exported: Model) -> None:
    text = (exported.path / "openvino_model.xml").read_text()
    assert 'name="encoder.layer.1.attention.self.query" type="MatMul"' in text


def test_the_same_checkpoint_gives_the_same_bytes_wherever_it_lies(
    checkpoint: Model, exported: Model, tmp_path: Path
) -> None:
    folder = shutil.copytree(checkpoint.path, tmp_path / "elsewhere" / "checkpoint")
    other = Model(folder, checkpoint.spec, checkpoint.digest)
    again = FolderContext(tmp_path / "again").apply(ExportOpenVINO(inference_precision="f32"), other)
    assert again.digest == exported.digest


def test_the_graph_tells_nothing_of_this_machine(checkpoint: Model, exported: Model) -> None:
    text = (exported.path / "openvino_model.xml").read_text()
    assert str(checkpoint.path) not in text
    assert "site-packages" not in text
    assert ".py" not in text
    assert "runtime_options" not in text


def test_the_folder_needs_nothing_from_the_checkpoint(exported: Model) -> None:
    assert {"config.json", "tokenizer.json", "modelwright.json"} <= {f.name for f in exported.path.iterdir()}
    assert exported.spec.details == {"inference_precision": "f32"}
    OpenVINO().check(exported.path, deep=True)


def test_half_precision_halves_the_weights(checkpoint: Model, exported: Model, tmp_path: Path) -> None:
    half = FolderContext(tmp_path / "half").apply(ExportOpenVINO(compress_to_fp16=True), checkpoint)
    full = OpenVINO().size(exported.path).weight_bytes
    assert OpenVINO().size(half.path).weight_bytes == pytest.approx(full / 2, rel=0.02)
    assert half.spec.dtype == "float16"
    text = sentences(1)
    a, b = (OpenVINO().runner(m, TARGET).run(text)[0] for m in (half, exported))
    assert a @ b / np.linalg.norm(a) / np.linalg.norm(b) > 0.999


def test_a_classifier_gives_the_logits_of_pytorch(tmp_path: Path) -> None:
    checkpoint = save_tiny_bert(tmp_path / "checkpoint", "classify")
    stage = ExportOpenVINO(inference_precision="f32")
    exported = FolderContext(tmp_path / "export").apply(stage, checkpoint)
    texts = sentences(6, seed=5)
    runner = OpenVINO().runner(exported, TARGET)
    reference = Torch().runner(checkpoint, TARGET)
    np.testing.assert_allclose(runner.run(texts, 3), reference.run(texts), atol=2e-5)
    assert runner.classify(texts) == reference.classify(texts)
