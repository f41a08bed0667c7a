from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from modelwright.api.model import Model
from modelwright_plugins.format.onnx_graph import load_graph
from modelwright_plugins.quantize.embedding_rows import quantize_embeddings
from modelwright_plugins.quantize.padding import embed_first_token_as_padding
from modelwright_plugins.quantize.smooth_quant import smooth
from modelwright_plugins.text.tokenize import TextTokenizer
from tests.plugins.onnx_outputs import TEXTS, as_model, cosines, outputs

pytest.importorskip("onnx_ir", reason="needs the export extra")
pytest.importorskip("onnxruntime", reason="needs onnxruntime")


def test_smoothing_changes_no_output_but_evens_the_inputs(tiny_onnx: Model, tmp_path: Path) -> None:
    from modelwright_plugins.quantize.graph_values import values_of

    graph = load_graph(tiny_onnx.path)
    tokenizer = TextTokenizer(tiny_onnx.path, 64)
    batches = [tokenizer([text]) for text in TEXTS]
    assert smooth(graph, batches, 0.8) == 8
    np.testing.assert_allclose(
        outputs(as_model(graph, tiny_onnx, tmp_path / "smooth")), outputs(tiny_onnx), atol=1e-4
    )
    divided = next(node for node in graph.graph if str(node.name).endswith("_smooth"))
    names = [str(divided.inputs[0].name), str(divided.outputs[0].name)]
    found = list(values_of(graph, names, batches))
    before, after = (
        np.max([np.abs(values[name]).reshape(-1, 32).max(axis=0) for values in found], axis=0)
        for name in names
    )
    assert after.max() / after.min() < before.max() / before.min()


def test_each_embedding_row_has_its_own_scale(tiny_onnx: Model, tmp_path: Path) -> None:
    graph = load_graph(tiny_onnx.path)
    name = next(name for name in graph.graph.initializers if "word_embeddings" in name)
    table = graph.graph.initializers[name].const_value.numpy()
    assert quantize_embeddings(graph) == 3
    codes, scales = (
        graph.graph.initializers[f"{name}_{part}"].const_value.numpy() for part in ("int8", "scale")
    )
    assert name not in graph.graph.initializers
    assert scales.shape == (len(table), 1)
    assert (np.abs(codes * scales - table) <= scales / 2 + 1e-7).all()
    assert cosines(tiny_onnx, as_model(graph, tiny_onnx, tmp_path / "rows")).min() > 0.9995


def test_padding_becomes_the_first_token_and_nothing_else_changes(tiny_onnx: Model, tmp_path: Path) -> None:
    graph = load_graph(tiny_onnx.path)
    assert embed_first_token_as_padding(graph) == 1
    changed = as_model(graph, tiny_onnx, tmp_path / "changed")
    assert changed.digest != tiny_onnx.digest
    np.testing.assert_allclose(outputs(changed), outputs(tiny_onnx), atol=1e-5)


def test_padding_that_other_tokens_see_is_left_as_it_is(tiny_onnx: Model, tmp_path: Path) -> None:
    import onnx_ir as ir

    graph = load_graph(tiny_onnx.path)
    for node in graph.graph:
        if node.op_type == "Attention":
            node.replace_input_with(3, None)
    ir.passes.common.RemoveUnusedNodesPass()(graph)
    before = as_model(graph.clone(), tiny_onnx, tmp_path / "before")
    assert embed_first_token_as_padding(graph) == 0
    assert as_model(graph, tiny_onnx, tmp_path / "after").digest == before.digest
