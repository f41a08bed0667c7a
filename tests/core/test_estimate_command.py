"""`modelwright estimate` as people and scripts use it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from modelwright.process.memory import total_memory
from tests.core.bench import in_process

CONFIGS = Path(__file__).parents[2] / "examples" / "estimate"
GB = 1e9
# What is published of these models: weights in 16 bits.
PUBLISHED = {
    "gpt3-175b": 350,
    "bloom-176b": 352,
    "llama-2-70b": 138,
    "falcon-40b": 83,
    "mpt-30b": 60,
    "starcoder-15b": 31,
}


def as_json(capsys: pytest.CaptureFixture, *arguments: object) -> dict:
    ended = in_process(capsys, "estimate", *map(str, arguments), "--json")
    assert ended.code == 0, ended.err
    return json.loads(ended.out)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sizes(name: str, capsys: pytest.CaptureFixture):
    found = as_json(capsys, CONFIGS / name)
    assert found["weights"]["bf16"] / GB == pytest.approx(PUBLISHED[name], rel=0.03)
    assert found["parameters"] == sum(found["groups"].values())


def test_the_published_cache_of_llama_13b(capsys: pytest.CaptureFixture):
    found = as_json(capsys, CONFIGS / "llama-13b", "--length", "2048")
    assert found["cache"]["bytes"]["fp16"] / GB == pytest.approx(1.7, rel=0.03)


def test_a_glob_of_folders_is_a_table(capsys: pytest.CaptureFixture):
    everything = sorted(CONFIGS.iterdir())  # the README too, as a shell gives it
    ended = in_process(capsys, "estimate", *map(str, everything), "--device", "cpu=64GiB")
    assert ended.code == 0, ended.err
    lines = {line.split()[0]: line for line in ended.out.splitlines() if line}
    assert {path.name for path in everything if path.is_dir()} <= set(lines)
    assert "174,604,259,328" in lines["gpt3-175b"]
    assert "349 GB" in lines["gpt3-175b"]
    assert lines["gpt3-175b"].endswith("does not fit")
    assert lines["llama-13b"].endswith("fits")


def test_one_folder_in_full(capsys: pytest.CaptureFixture):
    ended = in_process(
        capsys, "estimate", str(CONFIGS / "llama-13b"), "--device", "gpu0=16GiB", "--device", "gpu1=16GiB"
    )
    assert ended.code == 0, ended.err
    assert "13,015,864,320 parameters" in ended.out
    assert "1.68 GB for 1 × 2,048 tokens" in ended.out
    assert "a 32-bit scale per 64 values" in ended.out
    assert "model.layers.0 … model.layers.19: 0" in ended.out
    assert "lm_head: 1" in ended.out


def test_a_model_is_chosen_as_recipes_choose_it(capsys: pytest.CaptureFixture):
    path = CONFIGS / "llama-13b"
    by_folder = as_json(capsys, path, "target=cpu")
    assert as_json(capsys, "model=local", f"model.path={path}", "target=cpu") == by_folder
    fits = by_folder["fits"]["bf16"]
    assert [(fit["device"], fit["room"]) for fit in fits] == [("cpu", total_memory())]


def test_the_dtype_of_a_model_decides(capsys: pytest.CaptureFixture):
    path = f"model.path={CONFIGS / 'llama-13b'}"
    assert as_json(capsys, "model=local", path)["dtype"] == "fp16"
    assert as_json(capsys, "model=local", path, "model.dtype=float32")["dtype"] == "fp32"
    assert as_json(capsys, "model=local", path, "model.dtype=float32", "--dtype", "int4")["dtype"] == "int4"


@pytest.mark.parametrize(
    "devices",
    [
        ["--device", "gpu0=30GB", "--device", "cpu=60GB"],
        ["devices.gpu0=30GB", "devices.cpu=60GB"],
        ["devices={gpu0: 30GB, cpu: 60GB}"],
    ],
    ids=["options", "keys", "mapping"],
)
def test_devices_are_given_in_either_way(devices: list[str], capsys: pytest.CaptureFixture):
    found = as_json(capsys, CONFIGS / "llama-13b", *devices)
    assert [fit["verdict"] for fit in found["fits"]["fp16"]] == ["tight", "fits"]
    assert found["placement"]["device_map"] == {"": 0}


def test_sequences_scale_the_cache(capsys: pytest.CaptureFixture):
    one, four = (as_json(capsys, CONFIGS / "bloom-176b", "--batch", batch) for batch in (1, 4))
    assert four["cache"]["bytes"]["fp16"] == 4 * one["cache"]["bytes"]["fp16"]
    longer = as_json(capsys, CONFIGS / "bloom-176b", "--length", 4096)
    assert longer["cache"]["bytes"]["fp16"] == 2 * one["cache"]["bytes"]["fp16"]
    assert longer["notes"] == ["4,096 tokens are more than the model's context of 2,048"]


def test_torch_is_not_imported():
    source = (
        "import sys\nfrom modelwright.cli.main import run_command\n"
        f"code = run_command(['estimate', {str(CONFIGS / 'llama-13b')!r}, '--device', 'gpu0=16GiB'])\n"
        "print('LOADED', code, [n for n in ('torch', 'transformers', 'accelerate') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert "LOADED 0 []" in done.stdout


def write_config(folder: Path, **changes: object) -> Path:
    folder.mkdir()
    config = json.loads((CONFIGS / "llama-13b" / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    return folder


REFUSED = {
    "no model": ([], "No model is given."),
    "no such folder": (["./nowhere"], "There is no model folder at './nowhere'."),
    "no folder": ([__file__], "There is no model folder at "),
    "no path": (["model=local"], "'model.path' has no value"),
    "no such option": (["model=locl"], "There is no model 'locl'."),
    "no such key": (["model=local", "model.path=x/y", "model.pth=1"], "'pth' is not a key of model"),
    "no such group": (["stages.a=1"], "is neither a folder nor an override of model or target"),
    "only on the hub": (["model=hub", "model.path=owner/name"], "a preflight downloads nothing"),
    "no such device": (["model=local", "model.path=.", "--device", "npu0=3GB"], "no kind of device 'npu0'"),
    "no mapping": (["devices=3GB"], "is no mapping of devices to their memory"),
    "two recipes": (["a.yaml", "b.yaml"], "Several recipes are given"),
    "no batch": (["--batch", "0"], "is no whole number of at least 1"),
    "no length": (["--length", "-1"], "'-1' is no whole number of at least 1"),
    "no dtype": (["--dtype", "int3"], "invalid choice"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_wrong_ends_with_2(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    monkeypatch.chdir(tmp_path)
    arguments, what = REFUSED[case]
    ended = in_process(capsys, "estimate", *arguments)
    assert ended.code == 2, ended.out
    assert what in ended.err
    assert ended.out == ""


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"num_attention_heads": 37}, "37 attention heads do not divide the hidden size 5120."),
        ({"hidden_size": -5120}, "config.json gives hidden_size as -5120."),
        ({"model_type": "lama"}, "The model_type 'lama' is not known"),
        ({"model_type": "mistral"}, "config.json says no num_key_value_heads"),
    ],
)
def test_a_config_that_cannot_be_right_ends_with_2(
    changes: dict, what: str, tmp_path: Path, capsys: pytest.CaptureFixture
):
    ended = in_process(capsys, "estimate", str(write_config(tmp_path / "model", **changes)))
    assert ended.code == 2
    assert what in ended.err
    assert "config.json, key " in ended.err


def test_a_gpu_that_is_not_here_ends_with_4(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
):
    monkeypatch.setenv("PATH", str(tmp_path))  # no nvidia-smi on it
    ended = in_process(capsys, "estimate", str(CONFIGS / "llama-13b"), "target=cuda")
    assert ended.code == 4
    assert "--device gpu0=24GiB" in ended.err


def test_gpus_are_found_by_nvidia_smi(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
):
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\nprintf '0, 16384\\n1, 16384\\n'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    found = as_json(capsys, CONFIGS / "llama-13b", "target=cuda", "--sequential")
    assert [fit["device"] for fit in found["fits"]["fp16"]] == ["gpu0", "gpu1", "cpu"]
    assert set(found["placement"]["device_map"].values()) == {0, 1}
