from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from modelwright.api.model import Model
from modelwright.api.runner import GenerationRunner
from modelwright.api.target import Target
from modelwright.errors import RecipeError
from modelwright_plugins.export.llama2c import ExportLlama2c
from modelwright_plugins.format.llama2c import Llama2c
from modelwright_plugins.format.torch import Torch
from modelwright_plugins.llama2c.layout import Header, Version
from modelwright_plugins.llama2c.read import Weights
from tests.plugins.stage_context import FolderContext
from tests.plugins.tiny_llama import save_tiny_llama

pytest.importorskip("transformers", reason="compares with transformers")

TARGET = Target(threads=1)
PROMPTS = ["the other end of the line", "a", "where is the inner one? " * 2]
VARIANTS = {"tied": {}, "head": {"head": True}, "no-groups": {"kv_heads": 4}, "one-key": {"kv_heads": 1}}


@pytest.fixture(scope="module", params=VARIANTS)
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    variant = VARIANTS[request.param]
    return save_tiny_llama(tmp_path_factory.mktemp("checkpoint"), length=320, **variant)


def runner(model: Model, folder: Path, version: Version) -> GenerationRunner:
    exported = FolderContext(folder).apply(ExportLlama2c(version=version), model)
    return cast(GenerationRunner, Llama2c().runner(exported, TARGET))


def reference(model: Model) -> GenerationRunner:
    return cast(GenerationRunner, Torch().runner(model, TARGET))


def greedy(running: GenerationRunner, texts: list[str], count: int) -> np.ndarray:
    """Tokens of shape [count, batch], past any end of a text."""
    decoder = running.start(running.batch(running.encode(texts)), count)
    tokens = []
    for _ in range(count):
        tokens.append(decoder.logits.argmax(axis=-1))
        decoder.step(tokens[-1])
    return np.array(tokens)


@pytest.mark.parametrize("version", [0, 1])
def test_greedy_tokens_are_those_of_pytorch(checkpoint: Model, tmp_path: Path, version: Version) -> None:
    running, wanted = runner(checkpoint, tmp_path, version), reference(checkpoint)
    for texts in (PROMPTS[:1], PROMPTS):
        np.testing.assert_array_equal(greedy(running, texts, 200), greedy(wanted, texts, 200))


@pytest.mark.parametrize("version", [0, 1])
def test_logits_are_those_of_pytorch(checkpoint: Model, tmp_path: Path, version: Version) -> None:
    running, wanted = runner(checkpoint, tmp_path, version), reference(checkpoint)
    inputs = running.batch(running.encode(PROMPTS))
    real = inputs["attention_mask"] == 1
    np.testing.assert_allclose(running.logits(inputs)[real], wanted.logits(inputs)[real], atol=1e-4)
    np.testing.assert_allclose(running.loss(inputs), wanted.loss(inputs), atol=1e-4)


def test_int8_loses_little(checkpoint: Model, tmp_path: Path) -> None:
    running, wanted = runner(checkpoint, tmp_path, 2), reference(checkpoint)
    inputs = running.sample(4, 300, seed=1)
    assert running.loss(inputs).mean() == pytest.approx(wanted.loss(inputs).mean(), rel=0.01)
    assert not np.allclose(running.logits(inputs), wanted.logits(inputs), atol=1e-4)


def test_int8_products_are_those_of_runq_c(tmp_path: Path) -> None:
    model = save_tiny_llama(tmp_path / "checkpoint")
    exported = FolderContext(tmp_path / "run").apply(ExportLlama2c(version=2, group_size=32), model)
    data = (exported.path / "model.bin").read_bytes()
    inputs = np.random.default_rng(0).standard_normal(64).astype(np.float32)
    start = 1536 + 264 * 64 + 4 * 264 * 2  # the norms, the embeddings and their scales come before wq
    weights = np.frombuffer(data, np.int8, 64 * 64, start).reshape(64, 2, 32).astype(np.int32)
    scales = np.frombuffer(data, "<f4", 64 * 2, start + 64 * 64).reshape(64, 2)
    total = np.zeros(64)
    for group in range(2):
        part = inputs[32 * group : 32 * group + 32]
        scale = np.abs(part).max() / np.float32(127)
        rounded = np.array([int(np.floor(abs(x / scale) + 0.5) * np.sign(x)) for x in part], np.int32)
        total += (weights[:, group] @ rounded) * scales[:, group].astype(np.float64) * scale
    found = Weights(exported.path / "model.bin").matrix("wq").apply(inputs[None])[0]
    np.testing.assert_allclose(found, total, rtol=1e-4, atol=1e-5)


def test_a_head_that_the_config_denies_is_used_as_transformers_uses_it(tmp_path: Path) -> None:
    model = save_tiny_llama(tmp_path / "checkpoint", head=True, tie_word_embeddings=True)
    running, wanted = runner(model, tmp_path / "run", 1), reference(model)
    inputs = running.batch(running.encode(PROMPTS[:1]))
    np.testing.assert_allclose(running.logits(inputs), wanted.logits(inputs), atol=1e-4)


def test_generating_without_the_cache_gives_the_same(tmp_path: Path) -> None:
    running = runner(save_tiny_llama(tmp_path / "checkpoint"), tmp_path / "run", 0)
    cached = running.generate(PROMPTS, 24)
    assert running.generate(PROMPTS, 24, use_cache=False) == cached


def test_the_cache_is_as_large_as_the_formula_says(tmp_path: Path) -> None:
    running = runner(save_tiny_llama(tmp_path / "checkpoint"), tmp_path / "run", 0)
    inputs = running.sample(3, 10)
    assert running.start(inputs, 5).cache_bytes() == 2 * 2 * 2 * 16 * 4 * 3 * 15


def test_a_text_longer_than_the_context_is_refused(tmp_path: Path) -> None:
    running = runner(save_tiny_llama(tmp_path / "checkpoint", length=32), tmp_path / "run", 0)
    with pytest.raises(RecipeError, match="30 tokens and 3 are to be added; the context of the model is 32"):
        running.start(running.sample(1, 30), 3)


def test_a_shorter_context_is_what_the_file_says(tmp_path: Path) -> None:
    model = save_tiny_llama(tmp_path / "checkpoint", length=256)
    shorter = dataclasses.replace(model, spec=model.spec.model_copy(update={"max_length": 100}))
    exported = FolderContext(tmp_path / "run").apply(ExportLlama2c(), shorter)
    header: Header = Weights(exported.path / "model.bin").header
    assert header.length == 100


def test_it_says_what_it_is(tmp_path: Path) -> None:
    described = runner(save_tiny_llama(tmp_path / "checkpoint"), tmp_path / "run", 2).describe()
    assert "validation" in described["purpose"]
    assert described["dtype"] == "int8 weights and activations in groups of 64, summed in float32"


def test_it_needs_no_torch(tmp_path: Path) -> None:
    model = save_tiny_llama(tmp_path / "checkpoint")
    exported = FolderContext(tmp_path / "run").apply(ExportLlama2c(), model)
    code = (
        "import sys; from pathlib import Path; from modelwright.api.model import Model;"
        "from modelwright.api.target import Target; from modelwright_plugins.format.llama2c import Llama2c;"
        "runner = Llama2c().runner(Model.open(Path(sys.argv[1])), Target(threads=1));"
        "assert runner.generate(['the'], 4);"
        "print(*{'torch', 'transformers', 'onnxruntime'} & {*sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(exported.path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
