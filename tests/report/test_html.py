from __future__ import annotations

import re
from itertools import pairwise

import pytest
from page import Element, read
from sample import GATES, STEPS, bare, failed, rejected, released

from modelwright.report.html import render_html
from modelwright.report.model import Report

REPORTS = [released(), rejected(), failed(), bare()]
HOSTILE = "<script>alert('x')</script>\"&"


@pytest.fixture(scope="module", params=REPORTS, ids=lambda report: report.verdict)
def page(request: pytest.FixtureRequest) -> Element:
    return read(render_html(request.param))


def test_headings_go_down_one_level_at_a_time(page: Element) -> None:
    levels = [int(level) for level in re.findall(r"h([1-6])", " ".join(_tags(page)))]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_every_table_has_a_caption_and_every_header_a_scope(page: Element) -> None:
    for table in page.all("table"):
        assert table.all("caption")[0].text
    assert all(header.attributes.get("scope") in ("col", "row", "rowgroup") for header in page.all("th"))


def test_every_picture_is_named_and_described_or_hidden(page: Element) -> None:
    for svg in page.all("svg"):
        if svg.attributes.get("aria-hidden") == "true":
            continue
        assert svg.attributes["role"] == "img"
        assert svg.all("title")[0].text
        assert svg.all("desc")[0].text
        named = (svg.attributes["aria-labelledby"] or "").split()
        assert named == [svg.all("title")[0].attributes["id"], svg.all("desc")[0].attributes["id"]]


def test_ids_are_unique_and_links_lead_somewhere(page: Element) -> None:
    elements = _elements(page)
    ids = [element.attributes["id"] for element in elements if "id" in element.attributes]
    assert len(ids) == len(set(ids))
    for link in page.all("a"):
        assert (link.attributes["href"] or "").removeprefix("#") in ids


def test_nothing_is_loaded_and_nothing_runs(page: Element) -> None:
    assert not page.all("script")
    assert not page.all("link")
    for element in _elements(page):
        assert not {"src", "srcset", "xlink:href"} & set(element.attributes)
        assert not any(name.startswith("on") for name in element.attributes)
    style = page.all("style")[0].text
    assert "url(" not in style
    assert "@import" not in style


@pytest.mark.parametrize("report", REPORTS, ids=lambda report: report.verdict)
def test_no_address_of_another_machine_is_in_the_file(report: Report) -> None:
    assert not re.search(r"https?://", render_html(report))


def test_a_release_leads_with_verdict_gates_and_main_figures() -> None:
    page = read(render_html(released()))
    top = page.all("header")[0].text
    assert "Released as version 3" in top
    assert "All 4 gates passed." in top
    assert "2.42× faster" in top
    assert "31.2 ms" in top
    assert [heading.text for heading in page.all("h2")][:2] == ["Gates", "Before and after"]


def test_a_failed_gate_says_so_in_words() -> None:
    page = read(render_html(rejected()))
    rows = {row.all("th")[0].text.split()[0]: row for row in page.all("table")[0].all("tbody")[0].all("tr")}
    assert "failed" in rows["speed"].all("td")[0].text
    assert "1.61×" in rows["speed"].text
    assert "not measured" in rows["fused"].text
    assert "passed" in rows["quality"].all("td")[0].text
    assert "Rejected: 2 of 4 gates failed" in page.text


def test_a_failed_run_shows_its_failure_and_no_gate() -> None:
    page = read(render_html(failed()))
    assert "ended by signal 9" in page.all("header")[0].all("pre")[0].text
    assert "The run ended before any gate was judged." in page.text
    assert "Before and after" not in page.text


def test_a_report_without_values_says_what_it_lacks() -> None:
    page = read(render_html(bare()))
    assert "Unchanged: version 1 stands" in page.text
    assert "The recipe asks for no gate." in page.text
    assert not page.all("ol")


def test_noise_is_flagged_in_words() -> None:
    assert "noisy: wide interval" in read(render_html(released())).text


def test_steps_show_cost_against_prediction_parameters_and_records() -> None:
    page = read(render_html(released()))
    export, quantize, compile_ = (item.text for item in page.all("ol")[0].all("li"))
    assert "taken from the store" in export
    assert "opset 23" in export
    assert "512 MiB of 480 MiB predicted, 6.7 % over" in quantize
    assert "/encoder/layer.5/output/dense/MatMul" in quantize
    assert "A line of 6 numbers" in quantize
    assert "13.9 ms" in compile_
    assert "fastest at batch 1" in compile_


def test_hostile_text_stays_text_everywhere() -> None:
    gate = GATES[0].model_copy(update={"name": HOSTILE, "reason": HOSTILE, "asked": HOSTILE})
    step = STEPS[1].model_copy(
        update={
            "name": HOSTILE,
            "log": HOSTILE,
            "parameters": {HOSTILE: HOSTILE},
            "records": {
                HOSTILE: [{HOSTILE: HOSTILE}],
                HOSTILE + "2": [1.0, 2.0, 3.0],
                HOSTILE + "3": {HOSTILE: HOSTILE},
            },
        }
    )
    value = (
        released().values[2].model_copy(update={"name": HOSTILE, "at": {"batch": HOSTILE}, "unit": HOSTILE})
    )
    speed = released().values[2].model_copy(update={"at": {"batch": HOSTILE}, "data": HOSTILE})
    html = render_html(
        failed(
            name=HOSTILE,
            description=HOSTILE,
            failure=HOSTILE,
            gates=[gate],
            steps=[step],
            values=[value, speed],
        )
    )
    page = read(html)
    assert not page.all("script")
    assert page.all("h1")[0].text == HOSTILE
    assert "alert('x')" not in " ".join(str(element.attributes.get("onerror")) for element in _elements(page))


def test_figures_that_are_not_finite_do_not_break_the_page() -> None:
    broken = (
        released()
        .values[2]
        .model_copy(
            update={
                "candidate": released()
                .values[2]
                .candidate.model_copy(
                    update={"value": float("nan"), "low": float("nan"), "high": float("inf")}
                )
            }
        )
    )
    assert "not finite" in read(render_html(released(values=[broken]))).text


def _elements(page: Element) -> list[Element]:
    children = [child for child in page.children if isinstance(child, Element)]
    return children + [found for child in children for found in _elements(child)]


def _tags(page: Element) -> list[str]:
    """Tags in the order of the page."""
    found = []
    for child in page.children:
        if isinstance(child, Element):
            found += [child.tag, *_tags(child)]
    return found


def test_what_each_step_lost_and_won_back_is_drawn() -> None:
    text = render_html(released())
    assert "Lost and won back" in text
    assert "Retrieval MRR, docs: share of the baseline kept" in text
    assert "baseline 100\u202f%, prune 76.7\u202f%, distill 97.4\u202f%" in text
    assert "Lost and won back" not in render_html(released(recovery=[]))
