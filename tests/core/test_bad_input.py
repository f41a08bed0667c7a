"""Damaged models, poor data, hostile places: clear words, the right code, nothing half-written."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from modelwright.testing.tiny_model import write_tiny_model
from tests.core.bench import Bench, environment, in_process, start
from toy_plugin.bag import write_bag

TORCH = {"stages": {"export": {"use": "export.onnx"}}, "validate": {"metrics": {"size": {}}}}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("checkpoint") / "tiny", "embed", 0)


@pytest.fixture
def bench(bench: Bench, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    shutil.rmtree(bench.root / "model")
    shutil.copytree(checkpoint, bench.root / "model", copy_function=shutil.copyfile)
    bench.write(**TORCH)
    monkeypatch.chdir(bench.root)
    return bench


def refused(
    bench: Bench, capsys: pytest.CaptureFixture, code: int, *words: str, command: str = "plan"
) -> None:
    ended = in_process(capsys, command, "toy.yaml")
    assert ended.code == code, ended.err
    for word in words:
        assert word in ended.err
    assert bench.versions() == []


def test_the_checkpoint_is_fine_before_it_is_damaged(bench: Bench, capsys):
    assert in_process(capsys, "plan", "toy.yaml").code == 0


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_truncated_safetensors(bench: Bench, capsys, kept: int):
    file = bench.root / "model" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:kept])
    refused(bench, capsys, 2, "damaged or cut short", "model.safetensors")


def test_a_header_that_is_no_json(bench: Bench, capsys):
    (bench.root / "model" / "model.safetensors").write_bytes(struct.pack("<Q", 4) + b"oops")
    refused(bench, capsys, 2, "not the JSON of a safetensors file")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite(bench: Bench, capsys, value: float):
    file = bench.root / "model" / "model.safetensors"
    tensors = load_file(file)
    name = next(iter(tensors))
    tensors[name] = tensors[name].copy()
    tensors[name].flat[0] = value
    save_file(tensors, file, metadata={"format": "pt"})
    refused(bench, capsys, 2, "1 values that are NaN or infinite", f"'{name}'", command="run")


def test_pickled_weights(bench: Bench, capsys):
    (bench.root / "model" / "model.safetensors").rename(bench.root / "model" / "pytorch_model.bin")
    refused(bench, capsys, 2, "loading a pickle can run any code", "save_pretrained", "safetensors")


@pytest.mark.parametrize("content", [b"", b"{", b"not json"])
def test_a_tokenizer_that_does_not_read(bench: Bench, capsys, content: bytes):
    (bench.root / "model" / "tokenizer.json").write_bytes(content)
    refused(bench, capsys, 2, "The tokenizer does not read", "tokenizer.json", "save_pretrained")


def test_a_tokenizer_of_another_checkpoint(bench: Bench, capsys):
    file = bench.root / "model" / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "vocab_size": 10}))
    refused(bench, capsys, 2, "The tokenizer gives ids up to", "the model embeds 10")


@pytest.mark.parametrize("grid", [{"batch": [0]}, {"length": [-1]}, {"batch": [True]}, {"length": [1000]}])
def test_cells_that_cannot_be_measured(bench: Bench, capsys, grid: dict):
    bench.write(**TORCH | {"validate": {"metrics": {"latency": grid}}})
    refused(bench, capsys, 2, "validate.metrics.latency")


def test_no_weights(bench: Bench, capsys):
    (bench.root / "model" / "model.safetensors").unlink()
    refused(bench, capsys, 2, "holds no weights")


def test_a_shard_is_missing(bench: Bench, capsys):
    index = {"weight_map": {"a": "model-00002-of-00002.safetensors"}}
    (bench.root / "model" / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(bench, capsys, 2, "lacks model-00002-of-00002.safetensors")


def test_code_in_a_checkpoint_is_not_run_unless_trusted(bench: Bench, capsys):
    file = bench.root / "model" / "config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps({**config, "auto_map": {"AutoModel": "evil.Model"}}))
    refused(bench, capsys, 2, "brings code of its own", "model.trust_remote_code=true")


def test_a_config_that_is_no_json(bench: Bench, capsys):
    (bench.root / "model" / "config.json").write_text("{")
    refused(bench, capsys, 2, "not JSON", "config.json")


def test_an_architecture_that_is_not_served(bench: Bench, capsys):
    file = bench.root / "model" / "config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps({**config, "architectures": ["T5ForConditionalGeneration"]}))
    shutil.rmtree(bench.root / "model" / "1_Pooling", ignore_errors=True)
    (bench.root / "model" / "modules.json").unlink(missing_ok=True)
    refused(bench, capsys, 2, "T5ForConditionalGeneration is not served")


def test_a_folder_that_is_no_model(bench: Bench, capsys):
    shutil.rmtree(bench.root / "model")
    (bench.root / "model").mkdir()
    refused(bench, capsys, 2, "No format recognises")


def test_a_length_the_model_does_not_take(bench: Bench, capsys):
    ended = in_process(capsys, "plan", "toy.yaml", "model.path=model", "+model.max_length=100000")
    assert ended.code == 2
    assert "the model takes" in ended.err


def test_data_with_one_line(bench: Bench, capsys):
    (bench.root / "docs.jsonl").write_text('{"query": "read", "passage": "write a file"}\n')
    bench.write(**TORCH | {"validate": {"metrics": {"parity": {"data": "docs"}}}})
    refused(bench, capsys, 2, "The split 'validation' is empty", "Records in all: 1", command="run")


def test_data_that_is_no_json(bench: Bench, capsys):
    (bench.root / "docs.jsonl").write_text('{"query": "read"\n')
    refused(bench, capsys, 2, "docs.jsonl", "line 1")


@pytest.mark.parametrize("command", ["plan", "run"])
def test_an_artifacts_folder_that_cannot_be_written(bench: Bench, capsys, small_disk: Path, command: str):
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)  # holds for root, too
    ended = in_process(capsys, command, "toy.yaml", "--artifacts", str(small_disk / "artifacts"))
    assert ended.code == 2
    assert "cannot be written to" in ended.err
    assert "--artifacts" in ended.err


def test_an_artifacts_folder_that_is_a_file(bench: Bench, capsys):
    (bench.root / "artifacts").write_text("")
    refused(bench, capsys, 2, "The artifacts folder is a file")


@pytest.fixture
def small_disk(tmp_path: Path):
    """A file system of a few MiB."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small tmpfs needs root")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_disk_that_is_too_small_is_seen_in_the_plan(bench: Bench, capsys, small_disk: Path):
    ended = in_process(
        capsys, "plan", "toy.yaml", "--store", str(small_disk / "store"), *["stages.export.opset=23"]
    )
    assert ended.code == 0, ended.err  # 2 MB fit
    (small_disk / "filler").write_bytes(bytes(5 << 20))
    ended = in_process(capsys, "plan", "toy.yaml", "--store", str(small_disk / "store"))
    assert ended.code == 4
    assert "are free" in ended.err
    assert "MODELWRIGHT_STORE" in ended.err


def test_a_disk_that_fills_up_while_a_step_runs(tmp_path: Path, small_disk: Path):
    bench = Bench(tmp_path / "bench")
    bench.write(stages={"fill": {"use": "toy.broken", "how": "full"}})
    ended = bench.run("--store", str(small_disk / "store"))
    assert ended.code == 3, ended.err
    assert "No space left on device" in ended.err
    assert bench.versions() == []
    assert not list((small_disk / "store" / "steps").iterdir())
    bench.write()
    assert bench.run("--store", str(small_disk / "store")).code == 0  # what filled it is gone


@pytest.mark.parametrize("what", ["model/table.safetensors", "docs.jsonl"])
def test_an_input_that_changes_while_it_is_read_is_not_kept(tmp_path: Path, what: str):
    bench = Bench(tmp_path / "bench")
    bench.write(stages={"slow": {"use": "toy.scale", "seconds": 4.0, "data": "docs"}})
    file = bench.root / what
    before = file.read_bytes()
    run = start(bench)
    while run.poll() is None and not list(bench.artifacts.glob("toy/runs/*/logs/slow.txt")):
        time.sleep(0.02)
    other = write_bag(tmp_path / "other", seed=1) / "table.safetensors"
    file.write_bytes(
        other.read_bytes() if what.startswith("model") else b"".join(before.splitlines(True)[:200])
    )
    _, complaint = run.communicate()
    assert run.returncode == 2
    assert "changed while the run read it" in complaint
    assert not list((bench.artifacts / ".store" / "steps").iterdir())
    file.write_bytes(before)
    assert bench.run().code == 0


def test_a_folder_that_is_gone(tmp_path: Path):
    folder = tmp_path / "gone"
    folder.mkdir()
    command = f"cd {folder} && rmdir {folder} && {sys.executable} -m modelwright list"
    done = subprocess.run(
        ["sh", "-c", command], env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "The current folder is gone" in done.stderr


def test_a_damaged_step_in_the_store_is_made_again(tmp_path: Path):
    bench = Bench(tmp_path / "bench")
    assert bench.run().code == 0
    for file in (bench.artifacts / ".store" / "steps").glob("*/model/table.safetensors"):
        file.chmod(0o644)
        file.write_bytes(b"garbage")
    ended = bench.run()
    assert ended.code == 0, ended.err
    assert "unchanged: version 1" in ended.out
    assert [step["cached"] for step in bench.last_report()["steps"]] == [False, False]
