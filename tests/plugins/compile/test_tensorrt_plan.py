"""Chains that TensorRT cannot take are refused in the plan, with the step and the reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modelwright.errors import MissingError, RecipeError
from modelwright.main import plan
from modelwright.testing.recipes import write_recipe
from modelwright.testing.tiny_causal import write_tiny_causal
from modelwright.testing.tiny_model import write_tiny_model

CAST = {"cast": {"use": "cast.dtype", "dtype": "fp16"}}
EXPORT = {"export": {"use": "export.onnx"}}
COMPILE = {"compile": {"use": "compile.tensorrt"}}
BUILD = {"tensorrt": "tensorrt_rtx", "runs": False}
CHAINS: dict[str, tuple[dict[str, Any], str]] = {
    "dynamic": (
        {**EXPORT, "quantize": {"use": "quantize.onnx_dynamic"}, **COMPILE},
        "dynamic-int8: its ranges are found while it runs",
    ),
    "unsigned": (
        {**EXPORT, "quantize": {"use": "quantize.onnx_static", "data": "texts"}, **COMPILE},
        "uint8: .* quantize with activation=int8",
    ),
    "tables": (
        {
            **CAST,
            **EXPORT,
            "quantize": {"use": "quantize.onnx_static", "data": "texts", "activation": "int8"},
            **COMPILE,
        },
        r"int8-embeddings: .* quantize with operators=\[MatMul, Gemm\]",
    ),
    "contrib": (
        {**CAST, **EXPORT, "fuse": {"use": "compile.onnxruntime", "variant": "contrib"}, **COMPILE},
        "onnxruntime-only: its operators are ONNX Runtime's own",
    ),
    "float32": ({**EXPORT, **COMPILE}, "fuses attention in float16 and bfloat16 alone"),
    "sparse": (
        {**CAST, **EXPORT, "compile": {**COMPILE["compile"], "sparse_weights": True}},
        "no step makes the model sparse so",
    ),
}


def planned(folder: Path, stages: dict[str, Any], **changes: Any) -> None:
    pytest.importorskip("tensorrt_rtx", reason="needs the extra tensorrt-rtx")
    target = {"target": {"threads": 1, **BUILD}}
    recipe = write_recipe(folder, {"stages": stages, **target, **changes}, write_tiny_model(folder / "model"))
    plan(recipe, artifacts=folder / "artifacts", store=folder / "store")


@pytest.mark.parametrize("chain", CHAINS)
def test_a_chain_that_it_cannot_take_is_refused(chain: str, tmp_path: Path) -> None:
    stages, words = CHAINS[chain]
    with pytest.raises(RecipeError, match=words):
        planned(tmp_path, stages)


def test_a_graph_whose_cache_is_onnx_runtimes_own_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="needs the extra tensorrt-rtx")
    model = write_tiny_causal(tmp_path / "model")
    own = {"use": "export.onnx", "attention": "attention"}
    recipes = [
        write_recipe(
            tmp_path / name, {"stages": {**CAST, "export": export, **COMPILE}, "target": BUILD}, model
        )
        for name, export in (("gqa", EXPORT["export"]), ("own", own))
    ]
    with pytest.raises(RecipeError, match="GroupQueryAttention") as refused:
        plan(recipes[0], artifacts=tmp_path / "artifacts", store=tmp_path / "store")
    assert refused.value.accepted == "a step export.onnx with attention=attention before"
    plan(recipes[1], artifacts=tmp_path / "artifacts", store=tmp_path / "store")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {"profiles": [{"batch": [1, 1], "length": [1, 1, 1]}]},
            r"batch cannot be \[1, 1\]: it has too few entries",
        ),
        ({"profiles": 5}, "profiles cannot be 5: input should be a list"),
        ({"workspace": "foo"}, "stages.compile is refused: 'foo' is no amount of memory"),
        ({"workspace": "9999PiB"}, "is no amount of memory"),
        ({"workspace": "9999999TiB"}, "more than any GPU has"),
    ],
)
def test_what_is_written_wrong_is_named(fields: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=words):
        planned(tmp_path, {**CAST, **EXPORT, "compile": {**COMPILE["compile"], **fields}})


def test_half_precision_and_parts_are_taken(tmp_path: Path) -> None:
    planned(tmp_path / "half", {**CAST, **EXPORT, **COMPILE})
    planned(tmp_path / "parts", {**EXPORT, "compile": {"use": "compile.tensorrt", "decomposable": True}})


def test_without_a_gpu_the_target_says_what_to_have(tmp_path: Path) -> None:
    recipe = write_recipe(
        tmp_path,
        {"stages": {**CAST, **EXPORT, **COMPILE}, "target": {"device": "cuda", "tensorrt": "tensorrt"}},
        write_tiny_model(tmp_path / "model"),
    )
    with pytest.raises(MissingError, match="asks for a CUDA device") as refused:
        plan(recipe, artifacts=tmp_path / "artifacts", store=tmp_path / "store")
    assert "NVIDIA GPU" in str(refused.value.accepted)
    assert "modelwright[gpu,tensorrt]" in str(refused.value.hint)
