from __future__ import annotations

import re
from itertools import pairwise
from xml.etree import ElementTree

from page import read
from sample import released
from sample_values import exactly, interval, latency

from modelwright.api.metric import Interval, Value
from modelwright.report.curve_charts import BOTTOM, LABEL_ROOM, LEFT, RIGHT, TOP, Axis, Series, curve_chart
from modelwright.report.curves import panels
from modelwright.report.html import render_html


def times(length: int, decoding: str, milliseconds: float) -> Value:
    return Value(
        name="kv_cache.ms_per_token",
        at={"batch": 1, "length": length, "decoding": decoding},
        unit="ms",
        better="lower",
        candidate=interval(milliseconds, 0.1),
        baseline=interval(2 * milliseconds, 0.1),
    )


CACHE = [
    *(times(length, "cached", 3.0) for length in (16, 64, 256)),
    *(times(length, "recomputed", length / 16) for length in (256, 16, 64)),
]


def line_of(svg: str) -> list[tuple[float, float]]:
    """The corners of the only curve; the sample of it in the legend is drawn with `h`."""
    drawn = [path.get("d", "") for path in ElementTree.fromstring(svg).iter("path") if is_curve(path)]
    (line,) = [d for d in drawn if "h" not in d]
    return [(float(x), float(y)) for x, y in re.findall(r"([\d.]+) ([\d.]+)", line)]


def is_curve(path: ElementTree.Element) -> bool:
    return path.get("class", "").startswith("curve ")


def of(*points: tuple[float, Interval]) -> str:
    """A chart of one series, in milliseconds."""
    return curve_chart("c", "t", "tokens", [Series("candidate", points, "candidate")], "ms")


def at(place: float, value: float) -> tuple[float, Interval]:
    return place, Interval.exactly(value)


def test_three_lengths_are_a_curve_and_two_are_bars() -> None:
    found, rest = panels([latency(1, length, 30, 10) for length in (16, 64, 128)])
    assert (len(found), rest) == (1, [])
    two = [latency(batch, length, 30, 10) for batch in (1, 16) for length in (32, 128)]
    assert panels(two) == ([], two)


def test_each_batch_is_a_panel_of_its_own() -> None:
    values = [latency(batch, length, 30, 10) for batch in (1, 4) for length in (16, 64, 128)]
    found, rest = panels([*values, latency(16, 16, 300, 100)])
    assert {panel.over for panel in found} == {"length"}
    assert [panel.fixed for panel in found] == [{"batch": 1}, {"batch": 4}]
    assert [value.at["batch"] for value in rest] == [16]


def test_conditions_in_words_tell_series_apart() -> None:
    (panel,), rest = panels(CACHE)
    assert rest == []
    assert [(line.label, line.kind, line.dash) for line in panel.series] == [
        ("baseline, cached", "baseline", 0),
        ("candidate, cached", "candidate", 0),
        ("baseline, recomputed", "baseline", 1),
        ("candidate, recomputed", "candidate", 1),
    ]
    assert [(at, found.value) for at, found in panel.series[3].points] == [(16, 1), (64, 4), (256, 16)]


def test_a_figure_without_a_baseline_is_a_curve_too() -> None:
    values = [value.model_copy(update={"baseline": None}) for value in CACHE[:3]]
    (panel,), _ = panels(values)
    assert [line.label for line in panel.series] == ["candidate, cached"]


def test_values_without_conditions_are_left_alone() -> None:
    values = [exactly("size.disk", "bytes", 2, 1), *CACHE[:3]]
    found, rest = panels(values)
    assert (len(found), rest) == (1, values[:1])
    assert panels(values[:1]) == ([], values[:1])


def test_points_lie_in_proportion_to_their_values() -> None:
    line = line_of(of(at(10, 5), at(20, 10), at(30, 0)))
    assert line == [(LEFT, (TOP + BOTTOM) / 2), ((LEFT + RIGHT) / 2, TOP), (RIGHT, BOTTOM)]


def test_places_far_apart_are_on_a_logarithmic_scale() -> None:
    middle = (LEFT + RIGHT) / 2
    assert [Axis(1, 5).place(3), Axis(1, 100).place(10), Axis(0, 100).place(50)] == [middle] * 3
    assert "The scale of tokens is logarithmic." in of(at(1, 1), at(100, 1))
    assert "logarithmic" not in of(at(1, 1), at(5, 1))


def test_an_interval_is_drawn_through_its_point() -> None:
    svg = of((1, Interval(value=5, low=0, high=10)), at(2, 5), at(3, 5))
    whiskers = [p.get("d") for p in ElementTree.fromstring(svg).iter("path") if p.get("class") == "whisker"]
    assert whiskers == [f"M{LEFT:.1f} {BOTTOM:.1f}V{TOP:.1f}"]


def test_the_description_reads_the_figures_out_in_one_unit() -> None:
    svg = of(at(16, 900), at(256, 2000), at(512, 2500))
    told = ElementTree.fromstring(svg).findtext("desc").replace("\N{NARROW NO-BREAK SPACE}", " ")
    assert told == "Lines over tokens: candidate: 16 0.90 s, 256 2.00 s, 512 2.50 s."


def test_labels_that_would_overlap_are_left_out() -> None:
    svg = ElementTree.fromstring(of(*(at(place, 1) for place in (*range(1, 100), 128))))
    labels = [text for text in svg.iter("text") if text.get("class") == "label middle"]
    assert labels[-1].text == "128"
    places = [float(text.get("x", "nan")) for text in labels]
    assert len(places) > 2
    assert all(after - before >= LABEL_ROOM for before, after in pairwise(places))


def test_what_is_not_finite_or_empty_still_draws() -> None:
    broken = Interval(value=float("nan"), low=float("nan"), high=float("inf"))
    assert len(line_of(of(at(1, 1), (2, broken), at(3, 2)))) == 2
    for svg in (of(), of(at(0, 0)), curve_chart("c", "t", "tokens", [], "ms")):
        ElementTree.fromstring(svg)


def test_hostile_labels_are_escaped() -> None:
    points = [(1.0, Interval.exactly(1)), (2.0, Interval.exactly(1))]
    svg = curve_chart('"><script>', "<b>", "<i>", [Series("<u>", points, '"x')], "<s>")
    tags = {element.tag for element in ElementTree.fromstring(svg).iter()}
    assert tags == {"svg", "title", "desc", "text", "path", "circle"}


def test_the_page_shows_curves_with_their_conditions() -> None:
    page = read(render_html(released(values=[*released().values, *CACHE])))
    captions = [caption.text for caption in page.all("figcaption")]
    assert "KV cache ms per token, batch 1, less is better" in captions
    assert "Latency p50, less is better" in captions
