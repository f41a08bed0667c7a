from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import modelwright
from modelwright.errors import RecipeError, StageError


@pytest.fixture
def checkpoint(tiny_model: Callable[..., Path]) -> Path:
    return tiny_model("generate")


def only(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_a_checkpoint_becomes_one_file_and_a_tokenizer(checkpoint: Path, tmp_path: Path) -> None:
    written = modelwright.export(checkpoint, tmp_path / "out" / "model.bin", version=1)
    assert written == tmp_path / "out" / "model.bin"
    assert written.read_bytes()[:4] == struct.pack("<I", 0x616B3432)
    assert only(tmp_path / "out") == ["model.bin", "tokenizer.bin"]


def test_a_model_in_memory_is_exported_as_its_checkpoint_is(checkpoint: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="a model in memory is one of transformers")
    model = transformers.AutoModelForCausalLM.from_pretrained(checkpoint)
    written = modelwright.export(model, tmp_path / "memory" / "model.bin", version=0)
    assert only(tmp_path / "memory") == ["model.bin"]
    from_folder = modelwright.export(str(checkpoint), tmp_path / "folder" / "model.bin", version=0)
    assert written.read_bytes() == from_folder.read_bytes()


def test_a_model_in_memory_brings_a_tokenizer(checkpoint: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="a model in memory is one of transformers")
    model = transformers.AutoModelForCausalLM.from_pretrained(checkpoint)
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    modelwright.export(model, tmp_path / "memory" / "tiny.bin", tokenizer=tokenizer)
    modelwright.export(checkpoint, tmp_path / "folder" / "tiny.bin")
    assert only(tmp_path / "memory") == ["tiny.bin", "tokenizer.bin"]
    first, second = (tmp_path / name / "tokenizer.bin" for name in ("memory", "folder"))
    assert first.read_bytes() == second.read_bytes()


def test_what_was_there_is_replaced(checkpoint: Path, tmp_path: Path) -> None:
    file = tmp_path / "model.bin"
    file.write_bytes(b"old")
    modelwright.export(checkpoint, file, version=2, group_size=32, tokenizer_bin=False)
    assert struct.unpack("<i", file.read_bytes()[37:41]) == (32,)
    assert only(tmp_path) == ["model.bin"]


def test_a_stage_may_be_named(checkpoint: Path, tmp_path: Path) -> None:
    written = modelwright.export(checkpoint, tmp_path / "weights", stage="export.llama2c")
    assert struct.unpack("<7i", written.read_bytes()[:28]) == (64, 128, 2, 4, 2, 264, 64)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"version": 7}, r"export\.version cannot be 7"),
    ({"vresion": 1}, r"'vresion' is not a key of export"),
    ({"path": "model.xyz"}, r"No stage writes a '\.xyz' file"),
    ({"path": "model"}, r"No stage writes a '' file"),
    ({"path": "."}, r"is a folder"),
    ({"stage": "export.llama2"}, r"There is no stage 'export\.llama2'"),
    ({"stage": "cast.dtype"}, r"'cast\.dtype' does not write one file"),
    ({"model": "no-such-folder"}, r"There is no checkpoint at 'no-such-folder'"),
    ({"model": 3}, r"A int does not save itself"),
]


@pytest.mark.parametrize(("changes", "words"), REFUSED, ids=[str(case[0]) for case in REFUSED])
def test_a_bad_call_is_refused_and_leaves_nothing(
    checkpoint: Path, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    arguments = {"model": checkpoint, **changes}
    model, path = arguments.pop("model"), tmp_path / arguments.pop("path", "model.bin")
    with pytest.raises(RecipeError, match=words):
        modelwright.export(model, path, **arguments)
    assert only(tmp_path) == []


def test_a_typo_in_a_parameter_is_met_with_a_suggestion(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        modelwright.export(checkpoint, tmp_path / "model.bin", vresion=1)
    assert caught.value.hint == "did you mean 'version'?"


def test_a_folder_that_is_a_file_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(RecipeError, match="Cannot write the model"):
        modelwright.export(checkpoint, tmp_path / "taken" / "model.bin")


def test_a_model_of_another_task_is_refused(tiny_model: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"of task generate; this one is torch, of task embed"):
        modelwright.export(tiny_model("embed"), tmp_path / "model.bin")
    assert only(tmp_path) == []


def test_a_failure_leaves_what_was_there(checkpoint: Path, tmp_path: Path) -> None:
    numpy = pytest.importorskip("safetensors.numpy", reason="damages a checkpoint")
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    for file in checkpoint.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    weights = numpy.load_file(folder / "model.safetensors")
    weights["model.norm.weight"][0] = float("nan")
    numpy.save_file(weights, folder / "model.safetensors")
    place = tmp_path / "out" / "model.bin"
    place.parent.mkdir()
    place.write_bytes(b"old")
    with pytest.raises(StageError, match="holds NaN"):
        modelwright.export(folder, place)
    assert place.read_bytes() == b"old"
    assert only(place.parent) == ["model.bin"]
