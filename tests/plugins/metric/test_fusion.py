from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from modelwright.api.format import Format
from modelwright.api.metric import MetricContext
from modelwright.api.model import Model
from modelwright.api.target import Target
from modelwright_plugins.format.onnx import Onnx
from modelwright_plugins.format.openvino import OpenVINO
from modelwright_plugins.metric.fusion import Fusion


def figures(form: Format, folder: Path, like: Model) -> dict[str, float]:
    model = Model(folder, like.spec.model_copy(update={"format": form.name}), "0" * 64)
    observed = list(Fusion().observe(model, None, MetricContext(Target(), 0, form, {})))
    return {value.name: value.candidate.value for value in Fusion().compare(observed, observed, 0)}


def test_a_softmax_of_openvino_is_counted(tiny_checkpoint: Model, tmp_path: Path) -> None:
    pytest.importorskip("openvino", reason="needs openvino")
    from modelwright_plugins.format.openvino_offline import import_openvino

    ov = import_openvino()
    from openvino import opset13 as ops

    given = ops.parameter([-1, 4], np.float32)
    shares = ops.softmax(ops.relu(ops.add(given, ops.constant(np.float32(1)))), 1)
    ov.save_model(ov.Model([shares], [given]), tmp_path / "openvino_model.xml", compress_to_fp16=False)
    found = figures(OpenVINO(), tmp_path, tiny_checkpoint)
    assert found == {"fusion.attention": 0, "fusion.softmax": 1, "fusion.operators": 3}


def test_operators_of_branches_and_functions_are_counted(tiny_checkpoint: Model, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="needs onnx")
    from onnx import TensorProto, helper

    def value(name: str, kind: int = TensorProto.FLOAT) -> object:
        return helper.make_tensor_value_info(name, kind, None)

    def branch(operator: str) -> object:
        node = helper.make_node(operator, ["x"], [f"of_{operator}"])
        return helper.make_graph([node], operator, [], [value(f"of_{operator}")])

    imports = [helper.make_opsetid("", 23), helper.make_opsetid("mine", 1)]
    twice = helper.make_function(
        "mine", "Twice", ["a"], ["c"],
        [helper.make_node("Softmax", ["a"], ["b"]), helper.make_node("Softmax", ["b"], ["c"])], imports[:1],
    )  # fmt: skip
    nodes = [
        helper.make_node(
            "If", ["flag"], ["y"], then_branch=branch("Softmax"), else_branch=branch("Identity")
        ),
        helper.make_node("Twice", ["y"], ["z"], domain="mine"),
        helper.make_node("Attention", ["z", "z", "z"], ["v"], domain="mine"),
        helper.make_node("Attention", ["v", "v", "v"], ["w"]),
    ]
    graph = helper.make_graph(nodes, "g", [value("x"), value("flag", TensorProto.BOOL)], [value("w")])
    model = helper.make_model(graph, functions=[twice], opset_imports=imports)
    onnx.save(model, str(tmp_path / "model.onnx"))
    found = figures(Onnx(), tmp_path, tiny_checkpoint)
    # If, the Identity and Softmax of its branches, two Softmax of the function, two Attention.
    assert found == {"fusion.attention": 1, "fusion.softmax": 3, "fusion.operators": 7}
