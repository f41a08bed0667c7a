from __future__ import annotations

from xml.etree import ElementTree

from sample import GATES, bare, failed, rejected, released

from modelwright.report.junit import render_junit
from modelwright.report.model import Report


def suite(report: Report) -> ElementTree.Element:
    root = ElementTree.fromstring(render_junit(report).encode())
    assert root.tag == "testsuites"
    found = root.find("testsuite")
    assert found is not None
    cases = found.findall("testcase")
    assert found.get("tests") == str(len(cases)) == root.get("tests")
    assert found.get("failures") == str(len(found.findall("testcase/failure"))) == root.get("failures")
    assert found.get("errors") == str(len(found.findall("testcase/error"))) == root.get("errors")
    return found


def test_a_release_has_a_passed_case_for_each_gate() -> None:
    cases = suite(released()).findall("testcase")
    assert [case.get("name") for case in cases] == ["quality", "speed", "size", "fused"]
    assert {case.get("classname") for case in cases} == {"modelwright.minilm-int8"}
    assert all(len(case) == 0 for case in cases)


def test_a_failed_gate_says_what_was_asked_and_measured() -> None:
    failures = suite(rejected()).findall("testcase/failure")
    assert [failure.get("message") for failure in failures] == [
        "asked: latency.p50 at batch 1, length 128 at least 2x faster; measured: 1.61×",
        "asked: fusion.attention at least 6; measured: nothing",
    ]
    assert "latency.p50 at batch 1 × 128 tokens" in (failures[0].text or "")


def test_a_failed_run_is_an_error_beside_the_gates_it_got_to() -> None:
    found = suite(failed(gates=GATES[:1]))
    assert [case.get("name") for case in found.findall("testcase")] == ["quality", "run"]
    error = found.find("testcase/error")
    assert error is not None
    assert error.get("message") == "The step 'quantize' ended by signal 9 (killed)."
    assert "next: give it more memory" in (error.text or "")


def test_a_run_without_gates_is_not_an_empty_suite() -> None:
    assert [case.get("name") for case in suite(bare()).findall("testcase")] == ["run"]


def test_text_that_xml_cannot_hold_is_replaced() -> None:
    gate = GATES[0].model_copy(update={"name": "a\x00\x1b[31m<b>", "passed": False})
    found = suite(rejected(name="x\ud800", gates=[gate]))
    assert found.findall("testcase")[0].get("name") == "a\ufffd\ufffd[31m<b>"
