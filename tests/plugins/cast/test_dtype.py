from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from modelwright.api.model import Model
from modelwright.api.target import Target
from modelwright.engine.run import RunResult
from modelwright.errors import StageError
from modelwright.testing.texts import sentences
from modelwright.testing.tiny_model import write_tiny_model
from modelwright_plugins.cast.dtype import CastDtype
from modelwright_plugins.format.torch import Torch
from tests.plugins.stage_context import FolderContext
from tests.plugins.tiny_bert import save_tiny_bert

pytest.importorskip("transformers", reason="needs transformers")


@pytest.mark.parametrize(("dtype", "name", "error"), [("bf16", "bfloat16", 0.05), ("fp16", "float16", 0.005)])
def test_half_the_bytes_and_nearly_the_same_embeddings(
    tiny_checkpoint: Model, tmp_path: Path, dtype: str, name: str, error: float
) -> None:
    half = FolderContext(tmp_path / dtype).apply(CastDtype.model_validate({"dtype": dtype}), tiny_checkpoint)
    assert Torch().size(half.path).weight_bytes == Torch().size(tiny_checkpoint.path).weight_bytes / 2
    assert Torch().describe(half.path).dtype == half.spec.dtype == name
    texts = sentences(6, seed=4)
    before, after = (Torch().runner(m, Target(threads=1)).run(texts) for m in (tiny_checkpoint, half))
    difference = np.linalg.norm(after - before, axis=1) / np.linalg.norm(before, axis=1)
    assert 0 < difference.max() < error


def test_back_to_full_precision_keeps_the_rounded_values(tiny_checkpoint: Model, tmp_path: Path) -> None:
    half = FolderContext(tmp_path / "half").apply(CastDtype(dtype="bf16"), tiny_checkpoint)
    full = FolderContext(tmp_path / "full").apply(CastDtype(dtype="fp32"), half)
    again = FolderContext(tmp_path / "again").apply(CastDtype(dtype="bf16"), full)
    assert (again.path / "model.safetensors").read_bytes() == (half.path / "model.safetensors").read_bytes()


def test_a_tokenizer_that_is_slow_goes_along_as_a_fast_one(tmp_path: Path) -> None:
    checkpoint = save_tiny_bert(tmp_path / "checkpoint")
    expected = Torch().runner(checkpoint, Target(threads=1)).run(["a text"])
    fast = checkpoint.path / "tokenizer.json"
    vocabulary = json.loads(fast.read_text("utf-8"))["model"]["vocab"]
    (checkpoint.path / "vocab.txt").write_text("\n".join(sorted(vocabulary, key=vocabulary.get)) + "\n")
    (checkpoint.path / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    fast.unlink()
    cast = FolderContext(tmp_path / "cast").apply(CastDtype(dtype="fp32"), checkpoint)
    assert (cast.path / "tokenizer.json").is_file()
    np.testing.assert_array_equal(Torch().runner(cast, Target(threads=1)).run(["a text"]), expected)


def test_a_weight_that_overflows_fp16_is_refused_and_fits_bf16(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    checkpoint = save_tiny_bert(tmp_path / "checkpoint")
    file = checkpoint.path / "model.safetensors"
    weights = load_file(file)
    weights["encoder.layer.1.output.dense.bias"][3] = 70_000.0
    save_file(weights, file, metadata={"format": "pt"})
    refusal = r"'encoder\.layer\.1\.output\.dense\.bias' does not fit into fp16"
    with pytest.raises(StageError, match=refusal) as caught:
        FolderContext(tmp_path / "fp16").apply(CastDtype(dtype="fp16"), checkpoint)
    assert "bf16" in str(caught.value.accepted)
    FolderContext(tmp_path / "bf16").apply(CastDtype(dtype="bf16"), checkpoint)


def test_an_error_names_the_parameter_of_the_step(
    tmp_path: Path, run_recipe: Callable[..., RunResult]
) -> None:
    from safetensors.numpy import load_file, save_file

    folder = write_tiny_model(tmp_path / "checkpoint")
    weights = load_file(folder / "model.safetensors")
    weights["encoder.layer.1.output.dense.bias"][3] = 70_000.0
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    stages = {"half": {"use": "cast.dtype", "dtype": "fp16"}}
    with pytest.raises(StageError, match="does not fit into fp16") as caught:
        run_recipe({"model": {"path": str(folder)}, "stages": stages}, bench=False)
    assert "stages.half.dtype" in str(caught.value)
