from __future__ import annotations

import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelwright.api.model import Model
from modelwright.api.target import Target
from modelwright.errors import MissingError, RecipeError, StageError
from modelwright_plugins.export.gguf import ExportGGUF
from modelwright_plugins.format.gguf import GGUF
from modelwright_plugins.format.gguf_runner import GGUFRunner
from modelwright_plugins.format.torch_causal_runner import TorchCausalRunner
from modelwright_plugins.gguf.context import CHUNK
from modelwright_plugins.gguf.header import MODEL_FILE
from tests.plugins.greedy import greedy
from tests.plugins.stage_context import FolderContext

pytest.importorskip("gguf", reason="needs the gguf extra")
pytest.importorskip("llama_cpp", reason="needs llama-cpp-python")

TARGET = Target(threads=1)
PROMPTS = ["the cat", "an owl and the other one", "x", "and so on, and so on"]
ELEMENTS = 2 * 2 * 2 * 16  # keys and values, layers, heads, width


@pytest.fixture(scope="module")
def exported(tiny_causal: Model, tmp_path_factory: pytest.TempPathFactory) -> Model:
    stage = ExportGGUF(type="F32", cache_precision="f32")
    return FolderContext(tmp_path_factory.mktemp("export")).apply(stage, tiny_causal)


@pytest.fixture(scope="module")
def runner(exported: Model) -> GGUFRunner:
    return GGUFRunner(exported, TARGET)


def respecified(model: Model, **changes: Any) -> Model:
    return Model(model.path, model.spec.model_copy(update=changes), model.digest)


def test_logits_of_a_padded_batch_equal_pytorchs(tiny_causal: Model, runner: GGUFRunner) -> None:
    theirs = TorchCausalRunner(tiny_causal, TARGET)
    inputs = runner.batch(runner.encode(PROMPTS))
    counted = inputs["attention_mask"] > 0
    wanted = theirs.logits(inputs)
    np.testing.assert_allclose(runner.logits(inputs)[counted], wanted[counted], atol=1e-4)
    np.testing.assert_allclose(runner.infer(inputs), wanted[:, -1], atol=1e-4)
    np.testing.assert_allclose(runner.loss(inputs), theirs.loss(inputs), atol=1e-4)


def test_a_batch_generates_what_its_rows_generate_alone(runner: GGUFRunner) -> None:
    rows = runner.encode(PROMPTS)
    together = greedy(runner, rows, 30)
    assert together == [greedy(runner, [row], 30)[0] for row in rows]


def test_generated_text_is_pytorchs(tiny_causal: Model, runner: GGUFRunner) -> None:
    wanted = TorchCausalRunner(tiny_causal, TARGET).generate(PROMPTS, 20)
    assert runner.generate(PROMPTS, 20) == wanted
    assert runner.generate(PROMPTS, 20, use_cache=False) == wanted
    drawn = [runner.generate(PROMPTS, 20, temperature=1.0, seed=seed) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_prompts_longer_than_one_chunk(exported: Model) -> None:
    runner = GGUFRunner(respecified(exported, max_length=4 * CHUNK), TARGET)
    inputs = runner.sample(2, CHUNK + 90, seed=1)
    logits = runner.logits(inputs)
    decoder = runner.start(inputs, 1)
    np.testing.assert_allclose(decoder.logits, logits[:, -1], atol=1e-4)
    # What comes after does not change what came before.
    short = {name: array[:, :50] for name, array in inputs.items()}
    np.testing.assert_allclose(runner.logits(short), logits[:, :50], atol=1e-4)


def test_decoders_do_not_share_their_caches(runner: GGUFRunner) -> None:
    rows = runner.encode(PROMPTS)
    first = runner.start(runner.batch(rows[:1]), 4)
    kept = first.logits.copy()
    tokens = kept.argmax(axis=-1)
    second = runner.start(runner.batch(rows[1:3]), 4)
    second.step(second.logits.argmax(axis=-1))
    np.testing.assert_array_equal(first.logits, kept)
    alone = runner.start(runner.batch(rows[:1]), 4)
    np.testing.assert_array_equal(first.step(tokens), alone.step(tokens))


def test_the_cache_grows_with_the_text(exported: Model, runner: GGUFRunner) -> None:
    for precision, width in (("f32", 4), ("f16", 2)):
        details = {"cache_precision": precision}
        decoder = GGUFRunner(respecified(exported, details=details), TARGET).start(runner.sample(2, 10), 5)
        before = decoder.cache_bytes()
        decoder.step(np.array([1, 2]))
        after = decoder.cache_bytes()
        assert before is not None
        assert after is not None
        # Beside keys and values: some bytes of place for each token, a header for each row.
        assert 2 * ELEMENTS * width <= after - before <= 2 * (ELEMENTS * width + 32)
        assert 20 * ELEMENTS * width <= before <= 20 * (ELEMENTS * width + 32) + 400


def test_a_half_precision_cache_is_close(exported: Model, runner: GGUFRunner) -> None:
    inputs = runner.batch(runner.encode(PROMPTS))
    other = GGUFRunner(respecified(exported, details={}), TARGET)
    error = np.abs(other.infer(inputs) - runner.infer(inputs)).max()
    assert 1e-6 < error < 0.05


def test_attention_is_fused_unless_the_description_says_otherwise(exported: Model) -> None:
    plain = GGUFRunner(respecified(exported, details={"flash_attention": False}), TARGET)
    fused = GGUFRunner(respecified(exported, details={}), TARGET)
    assert plain.describe()["attention"] == "plain"
    assert fused.describe()["attention"] == "fused where llama.cpp can"
    inputs = plain.sample(2, 40)
    assert 0 < np.abs(plain.infer(inputs) - fused.infer(inputs)).max() < 0.05


def test_a_cache_the_heads_do_not_fit_is_an_error(exported: Model) -> None:
    runner = GGUFRunner(respecified(exported, details={"cache_precision": "q8_0"}), TARGET)
    with pytest.raises(StageError, match="makes no KV cache of q8_0") as caught:
        runner.infer(runner.sample(1, 4))
    assert "whose width 32 divides" in str(caught.value.hint)


def test_a_text_longer_than_the_context_is_refused(runner: GGUFRunner) -> None:
    with pytest.raises(
        RecipeError, match="has 60 tokens and 5 are to be added; the context of the model is 64"
    ):
        runner.start(runner.sample(1, 60), 5)


def test_more_rows_than_llama_cpp_takes_are_refused_and_split(runner: GGUFRunner) -> None:
    assert runner.max_batch == 256
    with pytest.raises(RecipeError, match="has 257 rows, and this runtime takes 256"):
        runner.start(runner.sample(257, 2), 1)
    rows = runner.run(["x"] * 258, batch_size=300)
    np.testing.assert_allclose(rows, np.broadcast_to(rows[0], rows.shape), atol=1e-4)


def test_a_context_used_before_remembers_nothing(runner: GGUFRunner) -> None:
    rows = runner.encode(PROMPTS)
    fresh = greedy(runner, rows[:2], 20)
    greedy(runner, rows[2:], 20)
    assert greedy(runner, rows[:2], 20) == fresh
    assert (
        runner.start(runner.batch(rows[:2]), 20).cache_bytes()
        == runner.start(runner.batch(rows[:2]), 20).cache_bytes()
    )


def test_contexts_and_models_are_given_back(exported: Model) -> None:
    runner = GGUFRunner(exported, TARGET)
    decoder = runner.start(runner.sample(1, 4), 1)
    context, alive = weakref.ref(decoder._context), weakref.ref(runner)
    del runner
    assert decoder.step(np.array([3])).shape == (1, 264)  # the model lives as long as its decoder
    del decoder
    assert context() is None
    assert alive() is None


def test_describe_says_what_runs(runner: GGUFRunner) -> None:
    said = runner.describe()
    assert said["runtime"].startswith("llama.cpp ")
    assert "llama-cpp-python 0.3." in said["runtime"]
    assert said["model"].endswith("F32")
    assert (said["threads"], said["cache"]) == ("1", "f32")
    assert said["instructions"].startswith("CPU")


def test_it_runs_without_torch(exported: Model) -> None:
    code = (
        "import sys; from pathlib import Path; from modelwright.api.model import Model;"
        "from modelwright.api.target import Target; from modelwright_plugins.format.gguf import GGUF;"
        f"model = Model.open(Path({str(exported.path)!r}));"
        "assert GGUF().runner(model, Target(threads=1)).generate(['the cat'], 5)[0];"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})


def test_cuda_is_refused_where_llama_cpp_was_built_for_the_cpu(exported: Model, runner: GGUFRunner) -> None:
    if runner.library.llama_supports_gpu_offload():
        pytest.skip("this llama.cpp was built for a GPU")
    with pytest.raises(MissingError, match="built for the CPU, not 'cuda'"):
        GGUF().runner(exported, Target(device="cuda"))


def test_a_file_that_llama_cpp_does_not_load_is_an_error(exported: Model, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes((exported.path / "tokenizer.json").read_bytes())
    (tmp_path / MODEL_FILE).write_bytes((exported.path / MODEL_FILE).read_bytes()[:20_000])
    with pytest.raises(StageError, match="does not load the model"):
        GGUF().runner(Model(tmp_path, exported.spec, ""), TARGET)


def test_a_description_of_another_vocabulary_is_an_error(exported: Model) -> None:
    assert exported.spec.generation is not None
    other = exported.spec.generation.model_copy(update={"vocabulary": 300})
    with pytest.raises(StageError, match="has 264 tokens, and the model's description 300"):
        GGUF().runner(respecified(exported, generation=other), TARGET)
