from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from modelwright.api.model import Model
from modelwright.api.target import Target
from modelwright.errors import RecipeError
from modelwright.testing.absence import run_without
from modelwright_plugins.export.genai import ExportGenAI
from modelwright_plugins.format.genai import CONFIG_FILE, GenAI
from modelwright_plugins.format.genai_runner import GenAIRunner
from modelwright_plugins.format.torch_causal_runner import TorchCausalRunner
from tests.plugins.greedy import assert_same_steps
from tests.plugins.stage_context import FolderContext

pytest.importorskip("onnxruntime_genai", reason="needs the genai extra")
TARGET = Target(threads=1)
# 0 ends a text in the checkpoint, 263 is the token that the runner reserves.
ROWS = [[70, 71, 72, 1, 5, 9, 30, 41], [8], [250, 3, 9, 9, 12], [100, 200, 0]]
RESERVED = [[5, 6, 7], [8, 263], [9]]

TORCH_FREE = """
import sys
from pathlib import Path
from modelwright.api.model import Model
from modelwright.api.target import Target
from modelwright_plugins.format.genai import GenAI
runner = GenAI().runner(Model.open(Path(sys.argv[1])), Target(threads=1))
print(runner.generate(["the other thing", "an"], max_new_tokens=12))
assert "torch" not in sys.modules and "onnx" not in sys.modules
"""


@pytest.fixture(scope="module")
def folder(tiny_causal: Model, tmp_path_factory: pytest.TempPathFactory) -> Model:
    return FolderContext(tmp_path_factory.mktemp("genai")).apply(ExportGenAI(precision="fp32"), tiny_causal)


@pytest.fixture(scope="module")
def reference(tiny_causal: Model) -> TorchCausalRunner:
    return TorchCausalRunner(tiny_causal, TARGET)


@pytest.fixture
def copied(folder: Model, tmp_path: Path) -> Model:
    shutil.copytree(folder.path, tmp_path / "copied")
    return Model(tmp_path / "copied", folder.spec, folder.digest)


@pytest.mark.parametrize("rows", [ROWS, RESERVED, [[5, 263]], [[7, 8, 9], [1, 2, 3]]])
def test_logits_and_tokens_equal_pytorch(
    reference: TorchCausalRunner, folder: Model, rows: list[list[int]]
) -> None:
    runner = GenAIRunner(folder, TARGET)
    inputs = runner.batch(rows)
    seen = inputs["attention_mask"] > 0
    np.testing.assert_allclose(runner.logits(inputs)[seen], reference.logits(inputs)[seen], atol=1e-3)
    assert_same_steps(reference, runner, inputs, 30)


@pytest.mark.parametrize("token", [0, 263])
def test_a_batch_goes_on_after_an_end_and_after_the_reserved_token(
    reference: TorchCausalRunner, folder: Model, token: int
) -> None:
    runner = GenAIRunner(folder, TARGET)
    inputs = runner.batch(ROWS[:3])
    expected, found = reference.start(inputs, 5), runner.start(inputs, 5)
    for tokens in ([4, token, 5], [token, 7, 8], [9, 9, token], [1, 2, 3]):
        chosen = np.array(tokens)
        np.testing.assert_allclose(found.step(chosen), expected.step(chosen), atol=1e-3)
    assert found.cache_bytes()


def test_texts_continue_as_in_pytorch(reference: TorchCausalRunner, folder: Model) -> None:
    texts = ["the other thing", "an", "in the"]
    assert GenAIRunner(folder, TARGET).generate(texts, 12) == reference.generate(texts, 12)


def test_the_cache_has_room_for_prompt_and_new_tokens(folder: Model) -> None:
    runner = GenAIRunner(folder, TARGET)
    per_token = runner.generation.cache_elements
    assert per_token is not None
    assert runner.start(runner.sample(2, 10), 6).cache_bytes() == 2 * 16 * per_token * 4


def test_it_generates_in_a_process_without_torch(
    reference: TorchCausalRunner, folder: Model, tmp_path: Path
) -> None:
    done = run_without("torch", ["-c", TORCH_FREE, str(folder.path)], tmp_path / "without")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(reference.generate(["the other thing", "an"], 12))


def test_a_prompt_longer_than_the_context_is_refused(folder: Model) -> None:
    runner = GenAIRunner(folder, TARGET)
    with pytest.raises(RecipeError, match="60 tokens and 5 are to be added"):
        runner.start(runner.sample(1, 60), 5)


def test_a_provider_that_is_not_there_is_named(folder: Model) -> None:
    with pytest.raises(RecipeError, match="do not run on TensorrtExecutionProvider"):
        GenAIRunner(folder, Target(threads=1, provider="TensorrtExecutionProvider"))


def test_the_folder_is_sound_and_says_what_is_in_it(folder: Model) -> None:
    GenAI().check(folder.path, deep=True)
    assert GenAI().graph_operators(folder)["GroupQueryAttention"] == 2
    assert GenAI().size(folder.path).weight_bytes == pytest.approx(367_872, rel=0.05)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (CONFIG_FILE, "no configuration of ONNX Runtime GenAI"),
        ("model.onnx", "The folder has no graph"),
        ("model.onnx.data", "cut short or missing"),
    ],
)
def test_a_missing_file_is_named(copied: Model, file: str, message: str) -> None:
    (copied.path / file).unlink()
    with pytest.raises(RecipeError, match=message):
        GenAI().check(copied.path)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (CONFIG_FILE, "not JSON"),
        ("model.onnx", "damaged or cut short"),
        ("model.onnx.data", "cut short or missing"),
    ],
)
def test_a_file_cut_short_is_found(copied: Model, file: str, message: str) -> None:
    content = (copied.path / file).read_bytes()
    (copied.path / file).write_bytes(content[: len(content) // 2])
    with pytest.raises(RecipeError, match=message):
        GenAI().check(copied.path)


def test_weights_that_are_no_numbers_are_found(copied: Model) -> None:
    file = copied.path / "model.onnx.data"
    file.write_bytes(b"\xff" * file.stat().st_size)
    with pytest.raises(RecipeError, match="NaN or infinity"):
        GenAI().check(copied.path, deep=True)


def test_a_configuration_of_another_graph_is_refused(copied: Model) -> None:
    config = json.loads((copied.path / CONFIG_FILE).read_text())
    config["model"]["decoder"]["filename"] = "other.onnx"
    (copied.path / CONFIG_FILE).write_text(json.dumps(config))
    with pytest.raises(RecipeError, match=r"'other\.onnx'"):
        GenAI().check(copied.path)
