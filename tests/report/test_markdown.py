from __future__ import annotations

import pytest
from sample import GATES, STEPS, bare, failed, rejected, released

from modelwright.report.markdown import fenced, plain, render_markdown
from modelwright.report.model import Report

REPORTS = [released(), rejected(), failed(), bare()]


@pytest.mark.parametrize("report", REPORTS, ids=lambda report: report.verdict)
def test_it_fits_a_comment(report: Report) -> None:
    text = render_markdown(report)
    assert text.count("\n") <= 70
    assert text.count("<details>") == text.count("</details>")


def test_it_opens_with_the_verdict_and_failed_gates_come_first() -> None:
    lines = render_markdown(rejected()).splitlines()
    assert lines[0] == "## ❌ minilm-int8: Rejected: 2 of 4 gates failed"
    gates = [line for line in lines if "failed**" in line or "✅ passed" in line]
    assert [line.split(" | ")[0] for line in gates] == ["| speed", "| fused", "| quality", "| size"]
    assert "1.61×" in gates[0]
    assert "not measured" in gates[1]


def test_a_failure_is_quoted_whole() -> None:
    assert "ended by signal 9 (killed).\n  where: stages.quantize" in render_markdown(failed())


def test_every_row_of_a_table_has_its_columns() -> None:
    hostile = GATES[0].model_copy(update={"name": "a|b\nc", "reason": "| x | `y` |"})
    for line in render_markdown(released(gates=[hostile, *GATES])).splitlines():
        if line.startswith("| a") or "retrieval.mrr" in line:
            assert line.replace("\\|", "").count("|") == 7


def test_names_neither_notify_nor_format_nor_open_tags() -> None:
    assert plain("@all <b> *x* #1 a_b\n`c`") == "&#64;all &lt;b&gt; \\*x\\* \\#1 a\\_b \\`c\\`"
    text = render_markdown(released(name="@team</details><script>"))
    assert "@team" not in text
    assert "<script>" not in text


def test_a_code_block_cannot_be_left_from_within() -> None:
    assert fenced("a\n````\nb").startswith("`````text\n")


def test_a_huge_report_stays_below_the_limit_and_says_what_it_lacks() -> None:
    long = "x" * 5_000 + "|" * 5_000
    report = rejected(
        name=long,
        description=long,
        gates=[
            GATES[0].model_copy(update={"name": f"{i}{long}", "reason": long, "asked": long})
            for i in range(500)
        ],
        steps=[STEPS[1].model_copy(update={"name": long, "stage": long})] * 300,
        notes=[long] * 200,
        failure=long * 10,
        reproduce=[long] * 50,
    )
    text = render_markdown(report)
    assert len(text) < 65_000
    assert "more gates" in text
    assert "it does not fit here" in text
