from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from modelwright.api.model import Model
from modelwright.api.runner import GenerationRunner
from modelwright.api.target import Target
from modelwright_plugins.export.openvino import ExportOpenVINO
from modelwright_plugins.format.openvino import OpenVINO
from modelwright_plugins.format.torch import Torch
from tests.plugins.greedy import greedy
from tests.plugins.stage_context import FolderContext

pytest.importorskip("openvino", reason="needs openvino")
pytest.importorskip("transformers", reason="needs transformers")

TARGET = Target(threads=1)
PROMPTS = ["the cat", "an owl and the other one", "x", "and so on, and so on"]


@pytest.fixture(scope="module")
def exported(tiny_causal: Model, tmp_path_factory: pytest.TempPathFactory) -> Model:
    stage = ExportOpenVINO(inference_precision="f32", cache_precision="f32")
    return FolderContext(tmp_path_factory.mktemp("export")).apply(stage, tiny_causal)


def runners(*models: Model) -> list[GenerationRunner]:
    formats = {"torch": Torch(), "openvino": OpenVINO()}
    return [formats[model.spec.format].runner(model, TARGET) for model in models]  # type: ignore[misc]


def test_logits_equal_pytorch_at_every_position(tiny_causal: Model, exported: Model) -> None:
    ours, theirs = runners(exported, tiny_causal)
    inputs = ours.batch(ours.encode(PROMPTS))
    counted = inputs["attention_mask"][..., None] > 0
    error = np.abs(ours.logits(inputs) - theirs.logits(inputs)) * counted
    assert error.max() < 1e-4


def test_greedy_tokens_equal_pytorch_in_a_padded_batch(tiny_causal: Model, exported: Model) -> None:
    ours, theirs = runners(exported, tiny_causal)
    rows = ours.encode(PROMPTS)
    assert greedy(ours, rows, 30) == greedy(theirs, rows, 30)


def test_two_texts_are_decoded_side_by_side(exported: Model) -> None:
    (runner,) = runners(exported)
    rows = runner.encode(PROMPTS[:2])
    apart = [greedy(runner, [row], 5)[0] for row in rows]
    first, second = (runner.start(runner.batch([row]), 5) for row in rows)
    together = [[int(d.logits.argmax())] for d in (first, second)]
    for _ in range(4):
        for tokens, decoder in zip(together, (first, second), strict=True):
            tokens.append(int(decoder.step(np.array(tokens[-1:])).argmax()))
    assert together == apart


def test_a_request_used_again_knows_nothing_of_the_text_before(exported: Model) -> None:
    (runner,) = runners(exported)
    first, second = (runner.batch(runner.encode([text])) for text in PROMPTS[1:3])
    (fresh,) = runners(exported)
    expected = fresh.start(second, 4).logits
    decoder = runner.start(first, 4)
    read = decoder.logits
    kept = read.copy()
    del decoder
    np.testing.assert_array_equal(runner.start(second, 4).logits, expected)
    np.testing.assert_array_equal(read, kept)


def test_the_cache_is_as_large_as_the_formula_where_openvino_tells(exported: Model) -> None:
    (runner,) = runners(exported)
    decoder = runner.start(runner.sample(3, 10), 5)
    decoder.step(decoder.logits.argmax(axis=-1))
    assert exported.spec.generation is not None
    assert decoder.cache_bytes() == 3 * 11 * (exported.spec.generation.cache_elements or 0) * 4
    assert runner.describe()["cache"] == "stateful, f32"
    compressed = exported.spec.model_copy(update={"details": {"cache_precision": "u8"}})
    (small,) = runners(dataclasses.replace(exported, spec=compressed))
    assert small.start(small.sample(3, 10), 5).cache_bytes() is None


def test_attention_is_one_operator_per_layer(exported: Model) -> None:
    operators = OpenVINO().graph_operators(exported)
    assert operators["ScaledDotProductAttention"] == 2
    assert "Softmax" not in operators


def test_the_same_checkpoint_gives_the_same_bytes(
    tiny_causal: Model, exported: Model, tmp_path_factory: pytest.TempPathFactory
) -> None:
    stage = ExportOpenVINO(inference_precision="f32", cache_precision="f32")
    again = FolderContext(tmp_path_factory.mktemp("again")).apply(stage, tiny_causal)
    for name in ("openvino_model.xml", "openvino_model.bin"):
        assert (again.path / name).read_bytes() == (exported.path / name).read_bytes()
