from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from modelwright.api.model import Model
from modelwright_plugins.compile.key_lengths import attend_by_lengths
from modelwright_plugins.compile.rewrites import (
    drop_unattended_rows,
    flatten_heads,
    fuse_for_provider,
    keep_norms_plain,
    share_key_mask,
)
from modelwright_plugins.format.onnx import Onnx
from modelwright_plugins.format.onnx_graph import add_initializer, load_graph
from modelwright_plugins.quantize.onnx_dynamic import QuantizeOnnxDynamic
from tests.plugins.onnx_outputs import as_model, outputs
from tests.plugins.stage_context import FolderContext

if TYPE_CHECKING:
    import onnx_ir as ir

pytest.importorskip("onnx_ir", reason="needs the export extra")
pytest.importorskip("onnxruntime", reason="needs onnxruntime")

# With how often each applies to two layers: the first is one Where per attention, the norms are two per
# layer and one behind the embeddings.
REWRITES: list[tuple[Callable[[ir.Model], int], int]] = [
    (drop_unattended_rows, 2),
    (share_key_mask, 2),
    (keep_norms_plain, 5),
]


@pytest.mark.parametrize(("rewrite", "times"), REWRITES, ids=lambda value: getattr(value, "__name__", ""))
def test_a_rewrite_changes_no_output(
    tiny_onnx: Model, tmp_path: Path, rewrite: Callable[[ir.Model], int], times: int
) -> None:
    graph = load_graph(tiny_onnx.path)
    assert rewrite(graph) == times
    changed = as_model(graph, tiny_onnx, tmp_path / "changed")
    assert changed.digest != tiny_onnx.digest
    for batch_size in (1, 7):
        np.testing.assert_allclose(
            outputs(changed, batch_size=batch_size), outputs(tiny_onnx, batch_size=batch_size), atol=1e-5
        )


def test_flat_heads_drop_every_transpose(tiny_onnx: Model, tmp_path: Path) -> None:
    graph = load_graph(tiny_onnx.path)
    drop_unattended_rows(graph)
    share_key_mask(graph)
    assert flatten_heads(graph) == 2
    changed = as_model(graph, tiny_onnx, tmp_path / "changed")
    operators = Onnx().graph_operators(changed)
    assert operators["Attention"] == 2
    assert "Transpose" not in operators
    np.testing.assert_allclose(outputs(changed), outputs(tiny_onnx), atol=1e-5)


def test_rewrites_apply_to_a_quantized_graph_too(tiny_onnx: Model, tmp_path: Path) -> None:
    quantized = FolderContext(tmp_path / "int8").apply(QuantizeOnnxDynamic(), tiny_onnx)
    graph = load_graph(quantized.path)
    assert [rewrite(graph) for rewrite, _ in REWRITES] == [2, 2, 5]
    assert flatten_heads(graph) == 2
    changed = as_model(graph, quantized, tmp_path / "changed")
    np.testing.assert_allclose(outputs(changed), outputs(quantized), atol=2e-2)


def test_lengths_of_texts_serve_for_a_mask(tiny_half: Model, tmp_path: Path) -> None:
    graph = load_graph(tiny_half.path)
    assert attend_by_lengths(graph) == 2
    changed = as_model(graph, tiny_half, tmp_path / "changed")
    operators = Onnx().graph_operators(changed)
    assert operators["MultiHeadAttention"] == 2
    assert not {"Attention", "Transpose", "Where"} & {*operators}
    for batch_size in (1, 7):  # rows of unequal length
        found, wanted = (outputs(model, batch_size=batch_size) for model in (changed, tiny_half))
        np.testing.assert_allclose(found, wanted, atol=5e-3)


@pytest.mark.parametrize("case", ["float32", "is_causal", "another mask", "narrow heads"])
def test_attention_that_is_not_computed_in_tiles_is_left_alone(
    tiny_half: Model, tiny_onnx: Model, case: str
) -> None:
    import onnx_ir as ir

    graph = load_graph((tiny_onnx if case == "float32" else tiny_half).path)
    nodes = [node for node in graph.graph if node.op_type == "Attention"]
    if case == "is_causal":
        nodes[0].attributes[case] = ir.AttrInt64(case, 1)
    elif case == "another mask":
        nodes[0].replace_input_with(
            3, add_initializer(graph.graph, "mask", np.zeros((1, 1, 1, 1), np.float16))
        )
    elif case == "narrow heads":
        drop_unattended_rows(graph)
        flatten_heads(graph)
        for node in nodes:
            for name in ("q_num_heads", "kv_num_heads"):
                node.attributes[name] = ir.AttrInt64(name, 8)
    assert attend_by_lengths(graph) == 0


def test_contrib_operators_are_equal(tiny_onnx: Model, tmp_path: Path) -> None:
    graph = load_graph(tiny_onnx.path)
    assert fuse_for_provider(graph, "CPUExecutionProvider") > 0
    changed = as_model(graph, tiny_onnx, tmp_path / "changed")
    np.testing.assert_allclose(outputs(changed), outputs(tiny_onnx), atol=1e-4)


def test_a_mask_that_hides_more_than_padding_is_not_shared(tiny_onnx: Model) -> None:
    import onnx_ir as ir

    graph = load_graph(tiny_onnx.path)
    attention = next(node for node in graph.graph if node.op_type == "Attention")
    mask = attention.inputs[3]
    assert mask is not None
    hidden = add_initializer(graph.graph, "always", np.array(-20_000.0, np.float32))
    add = ir.node("Add", [mask, hidden], name="hides_every_key")
    add.outputs[0].name = "not_a_key_mask"
    graph.graph.insert_before(attention, [add])
    for node in graph.graph:
        if node.op_type == "Attention":
            node.replace_input_with(3, add.outputs[0])
    assert share_key_mask(graph) == 0
    assert attention.inputs[3] is add.outputs[0]


def test_masks_that_differ_between_layers_are_not_shared(tiny_onnx: Model) -> None:
    import onnx_ir as ir

    graph = load_graph(tiny_onnx.path)
    last = [node for node in graph.graph if node.op_type == "Attention"][-1]
    copy = ir.node("Identity", [last.inputs[3]], name="own_mask")
    graph.graph.insert_before(last, [copy])
    last.replace_input_with(3, copy.outputs[0])
    assert share_key_mask(graph) == 0


def test_a_graph_without_attention_is_left_alone(tiny_onnx: Model) -> None:
    graph = load_graph(tiny_onnx.path)
    for node in graph.graph:
        if node.op_type == "Attention":
            node.op_type = "OtherAttention"
    assert [drop_unattended_rows(graph), share_key_mask(graph), flatten_heads(graph)] == [0, 0, 0]
