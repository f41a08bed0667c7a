"""The conformance tests pass for a good stage, and each of them fails for one that breaks its rule."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

BAD = Path(__file__).parent / "bad"

# The class of check_bad.py, its test, how that ends, and what it says.
CASES = {
    ("Particular", "test_it_runs"): ("passed", ""),
    ("Lost", "test_it_runs"): ("failure", "No chain of built-in stages makes what 'bad.particular' takes"),
    ("Needy", "test_a_missing_package_is_named"): ("passed", ""),
    ("Forgetful", "test_a_missing_package_is_named"): ("failure", "without onnx: exit code 0"),
    ("Unregistered", "test_it_is_registered"): ("failure", "no entry point of the group"),
    ("Silent", "test_it_is_documented"): ("failure", "without a description: strength"),
    ("Lenient", "test_it_refuses_an_unknown_parameter"): ("failure", "DID NOT RAISE"),
    ("Chancy", "test_it_repeats_exactly"): ("failure", "two runs differ in notes.txt"),
    ("Meddler", "test_it_leaves_its_input_alone"): ("failure", "The model changed while the run read it"),
    ("Pickler", "test_it_writes_no_pickle"): ("failure", "wrote a pickle: extra.data"),
    ("Breaker", "test_its_result_runs"): ("failure", "NaN or infinite"),
    ("Heavy", "test_its_module_imports_nothing_heavy"): ("failure", "importing bad_heavy imports onnx"),
}
RULES = (
    "test_it_is_registered",
    "test_it_is_documented",
    "test_it_refuses_an_unknown_parameter",
    "test_its_parameters_survive_json",
    "test_its_module_imports_nothing_heavy",
    "test_it_runs",
    "test_its_result_runs",
    "test_it_repeats_exactly",
    "test_it_leaves_its_input_alone",
    "test_it_writes_no_pickle",
    "test_a_missing_package_is_named",
)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], tuple[str, str]]:
    """Installs the bad plugin (its module and its metadata on the search path) and runs check_bad.py."""
    folder = tmp_path_factory.mktemp("bad")
    metadata = folder / "bad_stages-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: bad-stages\nVersion: 1.0\n", "utf-8")
    (metadata / "entry_points.txt").write_text("[modelwright]\nbad = bad_stages\n", encoding="utf-8")
    nodes = [f"{BAD / 'check_bad.py'}::Test{name}::{test}" for name, test in CASES]
    options = ["-q", "-p", "no:cacheprovider", "-o", "junit_logging=no", f"--junitxml={folder / 'junit.xml'}"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, f"{BAD / 'check_bad.py'}::TestGood", *nodes],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(BAD), *filter(None, sys.path)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (folder / "junit.xml").exists(), done.stdout + done.stderr
    return {
        (str(case.get("classname")).rpartition("Test")[2], str(case.get("name"))): _outcome(case)
        for case in ElementTree.parse(folder / "junit.xml").iter("testcase")
    }


def _outcome(case: ElementTree.Element) -> tuple[str, str]:
    if len(case) == 0:
        return "passed", ""
    return case[0].tag, case[0].get("message", "") + (case[0].text or "")


@pytest.mark.parametrize("rule", RULES)
def test_a_good_stage_keeps_every_rule(rule: str, outcomes: dict[tuple[str, str], tuple[str, str]]) -> None:
    outcome, words = outcomes[("Good", rule)]
    if rule == "test_a_missing_package_is_named":  # it needs none, and says so
        assert outcome == "skipped"
        assert "no package beyond modelwright's own" in words
    else:
        assert outcome == "passed", words


@pytest.mark.parametrize("case", CASES, ids=" ".join)
def test_a_broken_rule_is_caught(
    case: tuple[str, str], outcomes: dict[tuple[str, str], tuple[str, str]]
) -> None:
    outcome, words = outcomes[case]
    assert outcome == CASES[case][0], words
    assert CASES[case][1] in words
