"""Whole runs, from the command line, of a plugin that is not ours."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.core.bench import Bench, environment


@pytest.fixture
def released(bench: Bench) -> Bench:
    ended = bench.run()
    assert ended.code == 0, ended.err
    return bench


def test_a_run_releases_version_1_with_everything_in_it(released: Bench):
    folder = released.artifacts / "toy" / "1"
    assert {item.name for item in folder.iterdir()} == {
        "model", "manifest.json", "recipe.yaml", "report.json", "report.html", "report.md", "junit.xml",
        "README.md", "provenance.json", "samples.json",
    }  # fmt: skip
    manifest = released.manifest(1)
    assert [step["name"] for step in manifest["steps"]] == ["double", "halve"]
    assert manifest["steps"][0]["digest"] == manifest["steps"][1]["parent_digest"]
    assert released.last_report()["verdict"] == "released"


def test_the_provenance_names_model_files_and_input(released: Bench):
    statement = json.loads((released.artifacts / "toy" / "1" / "provenance.json").read_text("utf-8"))
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
    files = released.manifest(1)["files"]
    assert {item["name"]: item["digest"]["sha256"] for item in statement["subject"]} == {
        name: facts["sha256"] for name, facts in files.items() if name.startswith("model/")
    }
    dependencies = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert dependencies[0]["digest"]["sha256"] == released.manifest(1)["source"]["digest"]


def test_what_a_format_is_told_of_a_model_stays_with_it_from_step_to_step(bench: Bench):
    assert bench.run("model.cache=static").code == 0
    described = json.loads((bench.artifacts / "toy" / "1" / "model" / "modelwright.json").read_text("utf-8"))
    assert described["details"] == {"cache": "static"}


def test_the_same_run_again_takes_every_step_from_the_store_and_makes_no_version(released: Bench):
    ended = released.run()
    assert ended.code == 0
    assert "unchanged: version 1" in ended.out
    assert released.versions() == [1]
    assert all(step["cached"] for step in released.last_report()["steps"])


def test_another_parameter_reruns_from_that_step_on(released: Bench):
    ended = released.run("stages.halve.factor=0.25")
    assert ended.code == 0
    assert [step["cached"] for step in released.last_report()["steps"]] == [True, False]
    assert released.versions() == [1, 2]


def test_editing_the_input_reruns_everything(released: Bench):
    table = released.root / "model" / "tokenizer.json"
    table.write_text(table.read_text("utf-8").replace("read", "reed"), "utf-8")
    released.run()
    assert [step["cached"] for step in released.last_report()["steps"]] == [False, False]


def test_a_failed_gate_publishes_nothing_and_leaves_its_report(bench: Bench):
    ended = bench.run("+validate.gates.tiny={metric: size.disk, at_most: 10}")
    assert ended.code == 1
    assert "FAIL  tiny: size.disk at most 10" in ended.out
    assert "rejected: a gate failed, nothing was published" in ended.out
    assert bench.versions() == []
    report = bench.last_report()
    assert report["verdict"] == "rejected"
    assert [gate["passed"] for gate in report["gates"]] == [True, False]


@pytest.mark.parametrize(
    ("gate", "reason"),
    [
        ("{metric: size.disk, at: {batch: 3}, at_most: 1e9}", "not measured"),
        ("{metric: parity.cosine_mean, drop_at_most: 1%}", "there is no baseline figure"),
        ("{metric: parity.kl, at_most: 1}", "not measured"),
    ],
)
def test_a_gate_whose_figure_was_not_measured_is_closed(bench: Bench, gate: str, reason: str):
    ended = bench.run(f"+validate.gates.odd={gate}")
    assert ended.code == 1
    assert reason in ended.out
    assert bench.versions() == []


def test_no_bench_needs_evidence_and_then_measures_nothing(bench: Bench):
    first = bench.run("--no-bench")
    assert first.code == 4
    assert "has evidence from this hardware" in first.err
    assert bench.run().code == 0
    again = bench.run("--no-bench")
    assert again.code == 0
    assert "measuring" not in again.out
    assert any("Nothing was measured in this run" in note for note in bench.last_report()["notes"])


def test_no_bench_refuses_a_damaged_version(released: Bench):
    file = released.artifacts / "toy" / "1" / "samples.json"
    file.chmod(0o644)
    file.write_text("{}")
    assert released.run("--no-bench").code == 4


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("raise", "failed: ValueError: the toy broke"),
        ("crash", "its process died with signal SIGSEGV"),
        ("nothing", "wrote nothing"),
        ("pickle", "wrote a pickle: extra.pkl"),
        ("link", "wrote a link: link"),
        ("record", "The record 'loss' cannot be kept"),
        ("orphan", "its process died with signal SIGKILL"),
    ],
)
def test_a_broken_stage_ends_with_3_and_a_report(bench: Bench, how: str, words: str):
    bench.write(stages={"double": {"use": "toy.scale"}, "break": {"use": "toy.broken", "how": how}})
    ended = bench.run()
    assert ended.code == 3
    assert words in ended.err
    assert bench.versions() == []
    report = bench.last_report()
    assert report["verdict"] == "failed"
    assert [step["name"] for step in report["steps"]] == ["double"]


@pytest.mark.parametrize("how", ["raise", "crash"])
def test_the_log_that_a_failure_names_is_there(bench: Bench, how: str):
    bench.write(stages={"break": {"use": "toy.broken", "how": how}})
    named = re.search(r"where: (\S+)", bench.run().err)
    assert named is not None
    assert (bench.root / named[1]).is_file()


def test_a_defect_ends_with_3_and_a_report_not_as_a_failed_gate(bench: Bench, tmp_path: Path):
    (tmp_path / "broken").mkdir()
    # A library that breaks where nobody expects it: the report's schema of what was judged.
    (tmp_path / "broken" / "sitecustomize.py").write_text(
        "import modelwright.engine.run as run\n"
        "def judge(*args): raise ZeroDivisionError('a defect')\n"
        "run.judge = judge\n"
    )
    ended = bench.command("run", "toy.yaml", first_path=tmp_path / "broken")
    assert ended.code == 3
    assert "ZeroDivisionError: a defect" in ended.err
    assert bench.last_report()["failure"] == "ZeroDivisionError: a defect"
    assert bench.versions() == []


def test_a_reader_that_goes_away_does_not_change_how_a_run_ends(bench: Bench):
    bench.write(validate={"metrics": {"size": {}}, "gates": {"g": {"metric": "size.disk", "at_most": 1}}})
    shell = f"{sys.executable} -m modelwright run toy.yaml | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", shell], cwd=bench.root, env=environment(), capture_output=True, check=False
    )
    assert done.returncode == 1
    assert bench.last_report()["verdict"] == "rejected"


def test_a_damaged_version_does_not_stand_for_an_equal_run(released: Bench):
    table = released.artifacts / "toy" / "1" / "model" / "table.safetensors"
    table.chmod(0o644)
    table.write_bytes(b"damaged")
    assert released.run().code == 0
    assert released.versions() == [1, 2]


def test_the_baseline_keeps_its_own_dtype(bench: Bench):
    bench.write(model={"path": "model", "dtype": "float16"})
    assert bench.run().code == 0
    assert bench.last_report()["baseline"]["spec"]["dtype"] == "float32"


def test_each_step_keeps_its_log(released: Bench):
    run = next((released.artifacts / "toy" / "runs").iterdir())
    assert "scaling by 2.0" in (run / "logs" / "double.txt").read_text("utf-8")
    assert "scaling by 0.5" in (run / "logs" / "halve.txt").read_text("utf-8")


def test_parity_after_each_step_starts_anew_where_one_is_retrained(bench: Bench):
    bench.write(
        stages={
            "first": {"use": "toy.scale"},
            "train": {"use": "toy.retrain"},
            "last": {"use": "toy.scale"},
        }
    )
    assert bench.run().code == 0
    parity = bench.last_report()["parity"]
    assert [(item["step"], item["reference"]) for item in parity] == [
        ("first", "the input"),
        ("last", "train"),
    ]


def test_what_each_step_left_of_a_gated_figure_is_told(bench: Bench):
    gate = {"metric": "retrieval.mrr", "drop_at_most": "50%"}
    validate = {
        "metrics": {"retrieval": {"data": "docs", "queries": 20}, "size": {}},
        "gates": {"kept": gate, "small": {"metric": "size.disk", "rise_at_most": "900%"}},
    }
    bench.write(validate=validate)
    assert bench.run().code == 0
    recovery = bench.last_report()["recovery"]
    assert [(part["step"], part["stage"]) for part in recovery] == [
        ("double", "toy.scale"),
        ("halve", "toy.scale"),
    ]
    for part in recovery:
        [value] = part["values"]
        assert value["name"] == "retrieval.mrr"
        assert value["baseline"]["value"] == value["candidate"]["value"] > 0
    bench.write(validate=validate, stages={"only": {"use": "toy.scale"}})
    assert bench.run().code == 0
    assert bench.last_report()["recovery"] == []  # what one step left is the figure of the whole chain


def test_orchestration_is_a_small_part_of_a_run(bench: Bench):
    bench.write(stages={"slow": {"use": "toy.scale", "seconds": 4.0}})
    assert bench.run().code == 0
    time = bench.last_report()["time"]
    assert time["orchestration"] < 0.05 * time["total"]


def test_verify_names_the_damaged_file(released: Bench):
    assert released.command("verify", "--run").code == 0
    file = released.artifacts / "toy" / "1" / "model" / "table.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.chmod(0o644)
    file.write_bytes(content)
    ended = released.command("verify")
    assert ended.code == 1
    assert re.search(r"model/table\.safetensors was changed", ended.out)
    assert released.command("promote", "toy", "1", "--to", "production").code == 2


def test_compare_fails_when_b_regresses_past_a_gate_of_a(released: Bench):
    assert released.run("validate.gates.parity.at_least=-1", "stages.halve.use=toy.retrain").code == 0
    assert released.command("compare", "toy/1", "toy/2").code == 0
    rejected = released.run("+validate.gates.tiny={metric: size.disk, at_most: 10}")
    assert rejected.code == 1
    run = max((released.artifacts / "toy" / "runs").iterdir(), key=lambda folder: folder.stat().st_mtime_ns)
    ended = released.command("compare", str(run), "toy/1")
    assert ended.code == 1
    assert "B fails A's gate 'tiny'" in ended.out


def test_labels_move_between_versions(released: Bench):
    released.run("stages.halve.factor=0.25")
    assert "production is version 1" in released.command("promote", "toy", "1", "--to", "production").out
    assert "(was version 1)" in released.command("promote", "toy", "2", "--to", "production").out
    assert "production" in released.command("list").out
    assert released.command("promote", "toy", "9", "--to", "production").code == 2


def test_a_sweep_runs_every_combination_and_ends_with_one_table(bench: Bench):
    ended = bench.command("run", "-m", "toy.yaml", "stages.halve.factor=0.5,0.25")
    assert ended.code == 0, ended.err
    assert bench.versions() == [1, 2]
    table = ended.out[ended.out.rindex("verdict") :]
    assert "stages.halve.factor=0.5" in table
    assert "stages.halve.factor=0.25" in table


def test_a_sweep_without_jobs_is_refused(bench: Bench):
    ended = bench.command("run", "-m", "toy.yaml", "seed=glob(*)")
    assert ended.code == 2
    assert "The sweep has no jobs" in ended.err


def test_the_exit_code_of_a_sweep_is_its_worst(bench: Bench):
    ended = bench.command("run", "-m", "toy.yaml", "validate.gates.parity.at_least=0.9,2")
    assert ended.code == 1
    assert bench.versions() == [1]


def test_the_resolved_recipe_runs_to_the_same_result(released: Bench):
    resolved = released.command("plan", "--resolved", "toy.yaml").out
    released.recipe.write_text(resolved, "utf-8")
    ended = released.run()
    assert "unchanged: version 1" in ended.out


def test_paths_may_be_unicode_and_hold_spaces(tmp_path):
    bench = Bench(tmp_path / "Größe 東京 & more")
    ended = bench.run("--artifacts", "Ärtefakte 1")
    assert ended.code == 0, ended.err
    assert (bench.root / "Ärtefakte 1" / "toy" / "1" / "manifest.json").is_file()
