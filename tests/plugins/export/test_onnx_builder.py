from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from modelwright.api.model import Model
from modelwright.api.target import Target
from modelwright.digest import digest_folder
from modelwright.errors import RecipeError
from modelwright_plugins.export.onnx_builder import build_graph, known_architectures
from modelwright_plugins.format.onnx import Onnx
from modelwright_plugins.format.torch import Torch

pytest.importorskip("onnxruntime_genai", reason="needs the genai extra")
pytest.importorskip("onnx", reason="needs the export extra")

# A process that cannot reach anything builds a graph.
OFFLINE = """
import socket, sys
from pathlib import Path
def refuse(*arguments, **keywords): raise AssertionError("it reaches for the network")
socket.socket.connect = socket.getaddrinfo = refuse
from modelwright_plugins.export.onnx_builder import build_graph
source, out, scratch = map(Path, sys.argv[1:])
build_graph(source, out, architecture="LlamaForCausalLM", scratch=scratch)
"""


def build(model: Model, folder: Path, **options: object) -> Model:
    out, scratch = folder / "out", folder / "scratch"
    out.mkdir(parents=True)
    scratch.mkdir()
    build_graph(model.path, out, architecture=model.spec.architecture, scratch=scratch, **options)  # type: ignore[arg-type]
    for name in ("tokenizer.json", "config.json"):
        shutil.copyfile(model.path / name, out / name)
    return Model(out, model.spec.model_copy(update={"format": "onnx"}), digest_folder(out))


@pytest.fixture(scope="module")
def built(tiny_causal: Model, tmp_path_factory: pytest.TempPathFactory) -> Model:
    return build(tiny_causal, tmp_path_factory.mktemp("built"))


def test_logits_equal_pytorch(tiny_causal: Model, built: Model) -> None:
    target = Target(threads=1)
    expected, found = Torch().runner(tiny_causal, target), Onnx().runner(built, target)
    inputs = expected.sample(2, 40)
    np.testing.assert_allclose(found.logits(inputs), expected.logits(inputs), atol=1e-3)  # type: ignore[attr-defined]


def test_attention_is_fused_and_tied_weights_are_stored_once(tiny_causal: Model, built: Model) -> None:
    Onnx().check(built.path, deep=True)
    assert Onnx().graph_operators(built)["GroupQueryAttention"] == 2
    weights = (built.path / "model.onnx.data").stat().st_size
    assert weights < 1.1 * (tiny_causal.path / "model.safetensors").stat().st_size


@pytest.mark.parametrize("precision", ["fp32", "int4"])
def test_it_repeats_exactly_and_leaves_no_paths(tiny_causal: Model, tmp_path: Path, precision: str) -> None:
    first = build(tiny_causal, tmp_path / "first", precision=precision)
    second = build(tiny_causal, tmp_path / "second", precision=precision)
    assert first.digest == second.digest
    for file in first.path.iterdir():
        assert str(tmp_path).encode() not in file.read_bytes()
        assert b"site-packages" not in file.read_bytes()


def test_it_needs_no_network(tiny_causal: Model, tmp_path: Path) -> None:
    out, scratch = tmp_path / "out", tmp_path / "scratch"
    out.mkdir()
    scratch.mkdir()
    command = [sys.executable, "-c", OFFLINE, str(tiny_causal.path), str(out), str(scratch)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (out / "model.onnx").is_file()


def test_quantizing_node_by_node_gives_what_the_builder_gives(tiny_causal: Model, tmp_path: Path) -> None:
    from onnxruntime_genai.models.builder import create_model, parse_extra_options

    arguments = (None, str(tiny_causal.path), str(tmp_path / "whole"), "int4", "cpu", str(tmp_path / "cache"))
    create_model(*arguments, **parse_extra_options(*arguments, ["algo_config=rtn"]))
    ours = build(tiny_causal, tmp_path / "ours", precision="int4", options={"algo_config": "rtn"})
    theirs = Model(tmp_path / "whole", ours.spec, "")
    target = Target(threads=1)
    first, second = Onnx().runner(ours, target), Onnx().runner(theirs, target)
    inputs = first.sample(2, 20)
    np.testing.assert_array_equal(first.infer(inputs), second.infer(inputs))


def test_the_search_path_is_left_as_it_was(built: Model) -> None:
    assert not [entry for entry in sys.path if entry.endswith("onnxruntime_genai/models")]


def test_an_unknown_architecture_is_refused_with_a_way_out(tiny_causal: Model, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="does not know BloomForCausalLM") as caught:
        build_graph(
            tiny_causal.path, tmp_path, architecture="BloomForCausalLM", scratch=tmp_path, where="here"
        )
    assert "LlamaForCausalLM" in str(caught.value)
    assert "graph: trace" in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_what_it_knows_is_what_the_builder_compares_with() -> None:
    known = known_architectures()
    assert {"LlamaForCausalLM", "Qwen3ForCausalLM", "MistralForCausalLM"} <= known
    assert not [name for name in known if not name.endswith("ForCausalLM")]


def test_a_lie_about_tied_embeddings_is_refused(tiny_causal: Model, tmp_path: Path) -> None:
    source = tmp_path / "untied"
    shutil.copytree(tiny_causal.path, source)
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": False}))
    untied = Model(source, tiny_causal.spec, "")
    with pytest.raises(RecipeError, match="shared_embeddings"):
        build(untied, tmp_path / "built", options={"shared_embeddings": True})
