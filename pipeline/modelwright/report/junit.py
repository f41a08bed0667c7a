"""The report as JUnit XML, which every CI system shows: a test case for each gate."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from modelwright.report import units
from modelwright.report.figures import conditions, is_memory
from modelwright.report.model import GateResult, Report

# What XML 1.0 cannot hold, even escaped (§2.2): control characters, surrogates, two noncharacters.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render_junit(report: Report) -> str:
    """JUnit XML: a failed gate is a `failure`, one that was not measured and does not close is `skipped`, a
    failed run is an `error` in a test case `run`.

    A run without gates has the test case `run` alone, since CI systems take an empty suite for a mistake.
    """
    name = f"modelwright.{report.name}"
    skipped = sum(gate.excused for gate in report.gates)
    failures = sum(gate.closes for gate in report.gates)
    failed = report.verdict == "failed"
    tests = len(report.gates) + (1 if failed or not report.gates else 0)
    totals = {
        "name": name,
        "tests": str(tests),
        "failures": str(failures),
        "errors": str(int(failed)),
        "time": f"{report.time.total:.3f}",
    }
    root = _element(None, "testsuites", totals)
    suite = _element(root, "testsuite", {**totals, "timestamp": report.created, "skipped": str(skipped)})
    properties = _element(suite, "properties", {})
    for key, value in (
        ("run_id", report.run_id),
        ("verdict", report.verdict),
        ("version", "" if report.version is None else str(report.version)),
    ):
        _element(properties, "property", {"name": key, "value": value})
    for gate in report.gates:
        _gate(_element(suite, "testcase", {"classname": name, "name": gate.name, "time": "0"}), gate)
    if failed or not report.gates:
        case = _element(suite, "testcase", {"classname": name, "name": "run", "time": totals["time"]})
        if failed:
            text = report.failure or "The run failed."
            first = next((line for line in text.splitlines() if line.strip()), "The run failed.")
            _element(case, "error", {"message": first.strip(), "type": "run"}, text)
    ElementTree.indent(root)
    return "<?xml version='1.0' encoding='utf-8'?>\n" + ElementTree.tostring(root, encoding="unicode") + "\n"


def _gate(case: ElementTree.Element, gate: GateResult) -> None:
    if gate.passed:
        return
    if gate.excused:
        _element(case, "skipped", {"message": gate.reason})
        return
    measured = "nothing"
    if gate.measured is not None:
        measured = units.quantity(gate.measured, gate.unit, binary=is_memory(gate.metric))
    at = conditions(gate.at)
    lines = [
        gate.reason,
        f"metric: {gate.metric}" + (f" at {at}" if at else ""),
        f"asked: {gate.asked}",
        f"measured: {measured}",
    ]
    _element(
        case,
        "failure",
        {"message": f"asked: {gate.asked}; measured: {measured}", "type": "gate"},
        "\n".join(lines),
    )


def _element(
    parent: ElementTree.Element | None, tag: str, attributes: dict[str, str], text: str | None = None
) -> ElementTree.Element:
    clean = {key: _FORBIDDEN.sub("\ufffd", value) for key, value in attributes.items()}
    made = ElementTree.Element(tag, clean) if parent is None else ElementTree.SubElement(parent, tag, clean)
    if text is not None:
        made.text = _FORBIDDEN.sub("\ufffd", text)
    return made
