"""The model card's code for language models, run as a reader would run it: without modelwright."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modelwright.api.model import Model
from modelwright.api.stage import Stage
from modelwright.api.target import Target
from modelwright.registry import Registry
from modelwright.report.plain_runtime import plain_snippet
from modelwright_plugins.export.genai import ExportGenAI
from modelwright_plugins.export.gguf import ExportGGUF
from modelwright_plugins.export.onnx import ExportOnnx
from modelwright_plugins.export.openvino import ExportOpenVINO
from tests.plugins.greedy import greedy
from tests.plugins.stage_context import FolderContext

PACKAGES = {"genai": "onnxruntime_genai", "gguf": "llama_cpp", "openvino": "openvino", "onnx": "onnxscript"}
STAGES = [
    None,
    ExportOnnx(),
    ExportOnnx(graph="builder"),
    ExportGenAI(precision="fp32"),
    ExportOpenVINO(inference_precision="f32"),
    ExportGGUF(type="F32", cache_precision="f32"),
]


@pytest.mark.parametrize("stage", STAGES, ids=["torch", "onnx", "builder", "genai", "openvino", "gguf"])
def test_the_cards_code_gives_the_tokens_that_the_runner_gives(
    stage: Stage | None, tiny_causal: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_causal
    if stage is not None:
        pytest.importorskip(PACKAGES[stage.gives], reason=f"needs {PACKAGES[stage.gives]}")
        if isinstance(stage, ExportOnnx) and stage.graph == "builder":
            pytest.importorskip("onnxruntime_genai", reason="needs the genai extra")
        model = FolderContext(tmp_path / "stage").apply(stage, tiny_causal)
    (tmp_path / "model").symlink_to(model.path)
    snippet = plain_snippet(model.spec)
    assert snippet is not None
    assert "modelwright" not in snippet
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(snippet, names)
    runner: Any = Registry.load().formats[model.spec.format]().runner(model, Target(threads=1))
    prompt = runner.encode(["a prompt"])
    expected = greedy(runner, prompt, 32)[0]
    if "tokens" in names:
        assert [*prompt[0], *expected][: len(names["tokens"])] == names["tokens"]
        assert len(names["tokens"]) > len(prompt[0]) + 3
    else:
        # llama.cpp's own call gives text alone, and leaves out what is no UTF-8.
        assert names["text"] == runner.decode(expected).replace("\ufffd", "")
