"""A target that runs nothing here: what is made for it is published only where the recipe says so."""

import json
import re
from xml.etree import ElementTree

from tests.core.bench import Bench

ELSEWHERE = ("target.runs=false", "+target.compute_capabilities=['8.9']")
ALLOWED = "validate.allow_unmeasured=true"


def test_gates_that_were_not_measured_are_closed(bench: Bench):
    ended = bench.run(*ELSEWHERE)
    assert ended.code == 1
    assert re.search(r"FAIL  parity: .*; not measured", ended.out)
    assert bench.versions() == []


def test_a_recipe_may_publish_what_was_built_and_not_run(bench: Bench):
    ended = bench.run(*ELSEWHERE, ALLOWED)
    assert ended.code == 0, ended.err
    assert "built, not run: version 1, not validated" in ended.out
    folder = bench.artifacts / "toy" / "1"
    assert not (folder / "samples.json").exists()
    report = bench.last_report()
    assert report["verdict"] == "built"
    assert [gate["excused"] for gate in report["gates"]] == [True]
    suite = ElementTree.parse(folder / "junit.xml").getroot()
    assert (suite.get("failures"), len([*suite.iter("skipped")])) == ("0", 1)
    assert "not measured: the model is not validated" in (folder / "report.html").read_text("utf-8")
    card = (folder / "README.md").read_text("utf-8")
    assert "not measured" in card
    assert "Nothing has run this model yet" in card
    assert "Its quality and speed were not measured" in card
    assert "Quality was measured" not in card
    assert "built, not run" in bench.command("list").out
    assert [entry["validated"] for entry in json.loads(bench.command("list", "--json").out)] == [False]
    refused = bench.command("promote", "toy", "1", "--to", "production")
    assert (refused.code, "it is not validated" in refused.err) == (2, True)
    assert bench.command("promote", "toy", "1", "--to", "staging", "--not-validated").code == 0
    benched = bench.command("bench", str(folder))
    assert (benched.code, "built for other machines" in benched.err) == (4, True)
    same = bench.command("compare", str(folder), str(folder))
    assert (same.code, "A was not measured by parity" in same.out) == (0, True)
    same_recipe = bench.command("run", str(folder / "recipe.yaml"))
    assert (same_recipe.code, bench.versions()) == (0, [1]), same_recipe.err
    again = bench.run(*ELSEWHERE, ALLOWED)
    assert (again.code, bench.versions()) == (0, [1])
    assert bench.run(ELSEWHERE[1]).code == 0
    assert all(step["cached"] for step in bench.last_report()["steps"])
    unrun = bench.command("verify", "--run", str(folder))
    assert (unrun.code, "the model was built, not run" in unrun.out) == (4, True)


def test_a_gate_that_was_measured_is_not_excused(bench: Bench):
    small = "+validate.gates.small={metric: size.disk, smaller_by: 1000}"
    ended = bench.run(*ELSEWHERE, ALLOWED, small)
    assert ended.code == 1
    assert "FAIL  small" in ended.out


def test_a_model_that_runs_here_is_not_left_unmeasured(bench: Bench):
    ended = bench.run("target.runs=false", ALLOWED)
    assert ended.code == 2
    assert "nothing runs here, and models of format bag do" in ended.err


def test_gates_are_not_left_unmeasured_where_the_model_runs(bench: Bench):
    ended = bench.run(ALLOWED)
    assert ended.code == 2
    assert "only for a target that runs nothing here" in ended.err
