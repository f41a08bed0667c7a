"""A causal graph made by hand, with its weights in every form that exporters leave them in."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from modelwright.api.model import GenerationSpec, Model, ModelSpec
from modelwright.testing.tiny_causal import write_tiny_causal

HIDDEN, INNER, VOCABULARY = 96, 160, 264


def write_causal_graph(folder: Path, *, dtype: type = np.float32, seed: int = 0) -> Model:
    """A tokenwise model: Gather, a MatMul, a Gemm with bias, a MatMul of a Transpose, a tied head.

    The cache is passed through, empty. Node names: up, gate, down, head.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    write_tiny_causal(folder)
    (folder / "model.safetensors").unlink()
    rng = np.random.default_rng(seed)
    arrays = {
        "table": rng.standard_normal((VOCABULARY, HIDDEN)) * 0.3,
        "up_weight": rng.standard_normal((HIDDEN, INNER)) * 0.3,
        "gate_weight": rng.standard_normal((INNER, HIDDEN)) * 0.3,
        "gate_bias": rng.standard_normal(INNER),
        "down_weight": rng.standard_normal((HIDDEN, INNER)) * 0.3,
    }
    real = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    rows = numpy_helper.from_array(np.array([-1, HIDDEN]), "rows")
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["tokens"], name="lookup"),
        helper.make_node("MatMul", ["tokens", "up_weight"], ["up"], name="up"),
        helper.make_node("Reshape", ["tokens", "rows"], ["flat"], name="flatten"),
        helper.make_node("Gemm", ["flat", "gate_weight", "gate_bias"], ["gated"], name="gate", transB=1),
        helper.make_node("Shape", ["up"], ["shape"], name="shape"),
        helper.make_node("Reshape", ["gated", "shape"], ["gate"], name="unflatten"),
        helper.make_node("Sigmoid", ["gate"], ["open"], name="sigmoid"),
        helper.make_node("Mul", ["up", "open"], ["inner"], name="product"),
        helper.make_node("Transpose", ["down_weight"], ["down_turned"], name="turn", perm=[1, 0]),
        helper.make_node("MatMul", ["inner", "down_turned"], ["down"], name="down"),
        helper.make_node("Add", ["tokens", "down"], ["hidden"], name="residual"),
        helper.make_node("Transpose", ["table"], ["head_weight"], name="tie", perm=[1, 0]),
        helper.make_node("MatMul", ["hidden", "head_weight"], ["logits"], name="head"),
        helper.make_node("Identity", ["past_key_values.0.key"], ["present.0.key"], name="cache"),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "causal",
        [
            value("input_ids", TensorProto.INT64, ["batch", "length"]),
            value("attention_mask", TensorProto.INT64, ["batch", "total"]),
            value("past_key_values.0.key", real, ["batch", 2, "past", 16]),
        ],
        [value("logits", real, ["batch", "length", VOCABULARY]), value("present.0.key", real, None)],
        [*(numpy_helper.from_array(array.astype(dtype), name) for name, array in arrays.items()), rows],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.save(model, str(folder / "model.onnx"))
    spec = ModelSpec(
        format="onnx", task="generate", architecture="llama", max_length=64,
        generation=GenerationSpec(vocabulary=VOCABULARY, end=(0,), cache_elements=64),
    )  # fmt: skip
    spec.write(folder)
    return Model.open(folder)


def logits(model: Model, seed: int = 0, head_width: int = 16) -> np.ndarray:
    """Of random tokens [2, 24], with an empty cache."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(
        str(model.path / "model.onnx"), options, providers=["CPUExecutionProvider"]
    )
    tokens = np.random.default_rng(seed).integers(0, VOCABULARY, (2, 24))
    feed: dict[str, np.ndarray] = {}
    for item in session.get_inputs():
        if item.name == "input_ids":
            feed[item.name] = tokens
        elif item.name == "attention_mask":
            feed[item.name] = np.ones_like(tokens)
        elif item.name == "position_ids":
            feed[item.name] = np.tile(np.arange(tokens.shape[1]), (2, 1))
        else:
            dtype = np.float16 if "16" in item.type else np.float32
            feed[item.name] = np.zeros((2, item.shape[1], 0, head_width), dtype)
    return np.asarray(session.run(["logits"], feed)[0], np.float32)


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    """Least cosine over the positions."""
    dots = (one * other).sum(axis=-1)
    return float((dots / np.linalg.norm(one, axis=-1) / np.linalg.norm(other, axis=-1)).min())
