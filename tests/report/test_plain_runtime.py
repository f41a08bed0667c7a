"""The card's code is run as a reader would run it: in the artifact's folder, without modelwright."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sample import spec

from modelwright.api.model import ModelSpec
from modelwright.report.plain_runtime import plain_snippet

WORDS = ["[PAD]", "[UNK]", "a", "sentence", "another", "one"]
TABLE = np.random.default_rng(0).normal(size=(len(WORDS), 4)).astype(np.float32)


def write_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    tokenizer = Tokenizer(WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))


def write_onnx(folder: Path, output: str) -> None:
    """A graph that looks each token's vector up, or sums them up to logits."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    nodes = [helper.make_node("Gather", ["table", "input_ids"], ["looked_up"])]
    if output == "logits":
        nodes.append(helper.make_node("ReduceSum", ["looked_up", "axes"], ["logits"], keepdims=0))
    else:
        nodes.append(helper.make_node("Identity", ["looked_up"], [output]))
    graph = helper.make_graph(
        nodes,
        "lookup",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "length"])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(TABLE, "table"), numpy_helper.from_array(np.array([1], np.int64), "axes")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(folder / "model.onnx"))


def run(spec: ModelSpec, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The names the code leaves behind."""
    snippet = plain_snippet(spec)
    assert snippet is not None
    assert "modelwright" not in snippet
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {}
    exec(snippet, names)
    return names


def expected(pooling: str) -> np.ndarray:
    rows = [TABLE[[2, 3]], TABLE[[4, 5]]]
    pooled = {"mean": lambda row: row.mean(0), "cls": lambda row: row[0], "max": lambda row: row.max(0)}[
        pooling
    ]
    vectors = [pooled(row) for row in rows]
    return np.stack([vector / np.linalg.norm(vector) for vector in vectors])


@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
def test_onnx_runtime_embeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pooling: str) -> None:
    pytest.importorskip("onnxruntime")
    (tmp_path / "model").mkdir()
    write_tokenizer(tmp_path / "model")
    write_onnx(tmp_path / "model", "last_hidden_state")
    embeddings = run(spec("onnx").model_copy(update={"pooling": pooling}), tmp_path, monkeypatch)[
        "embeddings"
    ]
    np.testing.assert_allclose(embeddings, expected(pooling), atol=1e-4)


def test_onnx_runtime_classifies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    (tmp_path / "model").mkdir()
    write_tokenizer(tmp_path / "model")
    write_onnx(tmp_path / "model", "logits")
    labels = ("a", "b", "c", "d")
    classifier = spec("onnx").model_copy(update={"task": "classify", "labels": labels, "pooling": None})
    sums = [TABLE[[2, 3]].sum(0), TABLE[[4, 5]].sum(0)]
    names = run(classifier, tmp_path, monkeypatch)
    assert names["labels"] == [labels[int(row.argmax())] for row in sums]


def test_openvino_embeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    openvino = pytest.importorskip("openvino")
    (tmp_path / "model").mkdir()
    write_tokenizer(tmp_path / "model")
    write_onnx(tmp_path / "model", "last_hidden_state")
    converted = openvino.convert_model(str(tmp_path / "model" / "model.onnx"))
    openvino.save_model(converted, str(tmp_path / "model" / "openvino_model.xml"), compress_to_fp16=False)
    embeddings = run(spec("openvino"), tmp_path, monkeypatch)["embeddings"]
    np.testing.assert_allclose(embeddings, expected("mean"), atol=2e-2)


def test_transformers_embeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("torch")
    folder = tmp_path / "model"
    folder.mkdir()
    write_tokenizer(folder)
    transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"), pad_token="[PAD]", unk_token="[UNK]"
    ).save_pretrained(folder)
    config = transformers.BertConfig(
        vocab_size=6, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    transformers.BertModel(config).save_pretrained(folder)
    embeddings = run(spec("torch"), tmp_path, monkeypatch)["embeddings"]
    assert embeddings.shape == (2, 8)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)


def test_an_unknown_format_has_no_code() -> None:
    assert plain_snippet(spec("other")) is None
