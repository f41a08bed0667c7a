from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from modelwright.api.model import Model
from modelwright.api.target import Target
from modelwright_plugins.export.onnx import ExportOnnx
from modelwright_plugins.format.onnx import Onnx
from modelwright_plugins.format.torch import Torch
from tests.plugins.onnx_outputs import TEXTS, outputs
from tests.plugins.stage_context import FolderContext
from tests.plugins.tiny_bert import save_tiny_bert

pytest.importorskip("onnxscript", reason="needs the export extra")
pytest.importorskip("onnxruntime", reason="needs onnxruntime")


def test_embeddings_equal_pytorch_at_every_batch_and_length(tiny_checkpoint: Model, tiny_onnx: Model) -> None:
    expected = Torch().runner(tiny_checkpoint, Target(threads=1)).run(TEXTS)
    for batch_size in (1, 3, 16):
        np.testing.assert_allclose(outputs(tiny_onnx, batch_size=batch_size), expected, atol=2e-5)


@pytest.mark.parametrize(("batch", "length"), [(1, 1), (1, 64), (5, 2), (7, 33)])
def test_batch_and_length_are_dynamic(tiny_onnx: Model, batch: int, length: int) -> None:
    runner = Onnx().runner(tiny_onnx, Target(threads=1))
    assert runner.infer(runner.sample(batch, length)).shape == (batch, 32)


def test_a_text_embeds_alone_as_in_a_padded_batch(tiny_onnx: Model) -> None:
    pair = outputs(tiny_onnx, ["a file", TEXTS[-1]], batch_size=2)
    np.testing.assert_allclose(pair[:1], outputs(tiny_onnx, ["a file"]), atol=1e-5)


def test_attention_is_one_operator_per_layer(tiny_onnx: Model) -> None:
    operators = Onnx().graph_operators(tiny_onnx)
    assert operators["Attention"] == 2
    assert "Softmax" not in operators


def test_below_opset_23_attention_is_written_out(tiny_checkpoint: Model, tmp_path: Path) -> None:
    exported = FolderContext(tmp_path).apply(ExportOnnx(opset=20), tiny_checkpoint)
    operators = Onnx().graph_operators(exported)
    assert operators["Softmax"] == 2
    assert "Attention" not in operators


def test_the_graph_has_one_output_and_named_dimensions(tiny_onnx: Model) -> None:
    import onnx

    graph = onnx.load(str(tiny_onnx.path / "model.onnx")).graph
    assert [value.name for value in graph.output] == ["last_hidden_state"]
    for value in graph.input:
        assert [d.dim_param for d in value.type.tensor_type.shape.dim] == ["batch", "length"]
    assert not [tensor.name for tensor in graph.initializer if "pooler" in tensor.name]


def test_the_same_checkpoint_gives_the_same_bytes_wherever_it_lies(tiny_onnx: Model, tmp_path: Path) -> None:
    other = save_tiny_bert(tmp_path / "elsewhere" / "checkpoint")
    again = FolderContext(tmp_path / "again").apply(ExportOnnx(), other)
    assert again.digest == tiny_onnx.digest


def test_the_graph_tells_nothing_of_this_machine(tiny_checkpoint: Model, tiny_onnx: Model) -> None:
    graph = (tiny_onnx.path / "model.onnx").read_bytes()
    assert str(tiny_checkpoint.path).encode() not in graph
    assert b"site-packages" not in graph
    assert b".py" not in graph


def test_a_classifier_gives_the_logits_of_pytorch(
    tiny_classifier: Model, tiny_classifier_onnx: Model
) -> None:
    reference = Torch().runner(tiny_classifier, Target(threads=1))
    np.testing.assert_allclose(outputs(tiny_classifier_onnx), reference.run(TEXTS), atol=2e-5)
    runner = Onnx().runner(tiny_classifier_onnx, Target(threads=1))
    assert runner.classify(TEXTS) == reference.classify(TEXTS)
