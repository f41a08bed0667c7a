from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from modelwright.digest import digest_folder
from modelwright.engine.run import RunResult
from modelwright.testing.absence import run_without
from modelwright.testing.tiny_model import write_tiny_model


@pytest.mark.parametrize("task", ["embed", "classify"])
def test_transformers_loads_every_tensor_of_the_tiny_model(
    tiny_model: Callable[..., Path], task: str
) -> None:
    transformers = pytest.importorskip("transformers")
    auto = transformers.AutoModel if task == "embed" else transformers.AutoModelForSequenceClassification
    model, loading = auto.from_pretrained(tiny_model(task), output_loading_info=True)
    assert not any(loading.values()), loading
    assert (model.config.num_hidden_layers, model.config.hidden_size) == (2, 32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_model(task))
    assert tokenizer.is_fast
    assert tokenizer.decode(tokenizer("Return the file")["input_ids"]) == "[CLS] return the file [SEP]"


def test_the_tiny_model_is_the_same_bytes_every_time(tmp_path: Path) -> None:
    first, second = write_tiny_model(tmp_path / "a"), write_tiny_model(tmp_path / "b")
    other = write_tiny_model(tmp_path / "c", seed=1)
    assert digest_folder(first) == digest_folder(second) != digest_folder(other)


def test_the_tiny_model_is_written_once_a_session(tiny_model: Callable[..., Path]) -> None:
    assert tiny_model() == tiny_model()
    assert tiny_model() != tiny_model("classify")


def test_run_recipe_runs_a_mapping_and_a_file_to_their_verdicts(
    run_recipe: Callable[..., RunResult], tmp_path: Path
) -> None:
    recipe = {
        "stages": {"cast": {"use": "cast.dtype", "dtype": "bf16"}},
        "validate": {
            "metrics": {"size": {}},
            "gates": {"size": {"metric": "size.disk", "smaller_by": 100}},
        },
    }
    released = run_recipe(recipe, ["validate.gates.size.smaller_by=1.2"], task="classify")
    assert (released.exit_code, released.report.verdict) == (0, "released")
    assert released.artifact == tmp_path / "artifacts" / "trial" / "1"
    assert (released.artifact / "model" / "model.safetensors").is_file()
    again = run_recipe(released.artifact / "recipe.yaml", bench=False)
    assert (again.exit_code, again.report.verdict) == (0, "unchanged")


def test_the_fixtures_cost_other_test_runs_nothing() -> None:
    code = (
        "import sys, pytest; before = set(sys.modules); import modelwright.testing.plugin; "
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= {
        "__future__",
        "modelwright",
        "modelwright.testing",
        "modelwright.testing.plugin",
    }


def test_pytest_and_the_tiny_model_work_without_torch(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import importlib.util\n"
        "def test_it(tiny_model):\n"
        "    assert importlib.util.find_spec('torch') is None\n"
        "    assert (tiny_model() / 'model.safetensors').is_file()\n",
        encoding="utf-8",
    )
    arguments = ["-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path / "test_it.py")]
    done = run_without("torch", arguments, tmp_path / "path")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
